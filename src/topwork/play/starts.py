"""How stories begin: genres with roles and names that are drawn, or the player's own beginning. It knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from topwork.data.player_words import as_narration
from topwork.errors import UsageError

__all__ = ["GENRES", "Genre", "Role", "Start", "drawn_start", "genre_of", "own_start"]

OWN: Final = "own"
"""Genre of a beginning that the player wrote."""


@dataclass(frozen=True, slots=True)
class Start:
    """A beginning: what is never forgotten, and what is read first."""

    genre: str
    context: str
    opening: str


@dataclass(frozen=True, slots=True)
class Role:
    """Who the player may be: the end of “You are NAME, …”, and how the story opens."""

    who: str
    opening: str


@dataclass(frozen=True, slots=True)
class Genre:
    """A kind of stories."""

    title: str
    names: tuple[str, ...]
    roles: tuple[Role, ...]


GENRES: Final[Mapping[str, Genre]] = {
    "fantasy": Genre(
        "Fantasy: a ranger, a thief or a hedge witch in the kingdom of Ellermark",
        ("Mara", "Tobin", "Isolde", "Garrick", "Wren", "Aldous"),
        (
            Role(
                "a ranger of the Greywood. You have a long bow and a pouch of herbs",
                "The rain has not stopped for three days. At the edge of the Greywood you find a cart on "
                "its side, its horse gone, and a trail of small footprints leading between the trees. "
                "Somewhere ahead, a bell rings once and falls silent.",
            ),
            Role(
                "a thief in the city of Harrowgate. You have a set of picks and a debt that is due tonight",
                "The lock gives way at the third try. Behind the door lies the counting room of the Salt "
                "Guild, just as you were told: a desk, a lamp that still burns, and a chest bound in blue "
                "iron. You were not told of the old man who sits asleep beside it.",
            ),
            Role(
                "a hedge witch from the village of Low Fenn. You have a crooked staff and a black hen "
                "called Penny",
                "They come to your door at dawn, six farmers with their hats in their hands. The well has "
                "begun to speak, they say. It asks for you by name. Penny looks at them, then at you, and "
                "for once she does not cluck.",
            ),
        ),
    ),
    "mystery": Genre(
        "Mystery: a detective, a reporter or a doctor in the city of Port Callis, 1927",
        ("Nora Vane", "Ellis Crane", "Ada Marsh", "Hugo Lind", "Ruth Calder"),
        (
            Role(
                "a private detective in Port Callis. You have a notebook, a bad knee and a client who is "
                "missing",
                "The office smells of cold tobacco. On your desk lies an envelope that was not there last "
                "night, with your name on it in green ink. Inside is a key to room 9 of the Hotel "
                "Meridian, and a photograph of yourself, taken from across the street.",
            ),
            Role(
                "a reporter for the Callis Herald. You have a camera and until midnight to file your story",
                "The mayor's yacht came back this morning without the mayor. Now it lies at the third pier "
                "behind a rope and two bored policemen, its lamps still lit. Through a porthole you can "
                "see a table laid for two, and one chair on the floor.",
            ),
            Role(
                "a doctor who works nights at the morgue of Port Callis. You have a scalpel and a good "
                "memory for faces",
                "The drowned man on your table has been dead for two days. You are sure of that, and you "
                "are just as sure that he held the door for you this evening. In the fist that you have to "
                "open finger by finger, he holds a ticket for the opera.",
            ),
        ),
    ),
    "space": Genre(
        "Space: a pilot, an engineer or an envoy at the rim of the settled worlds",
        ("Ines Okafor", "Tarek Voss", "Juno Hale", "Pavel Rhee", "Sable Ito"),
        (
            Role(
                "the pilot of the freighter Small Hours. You have a full tank, an empty hold and a ship "
                "that talks too much",
                '"I have good news and strange news," says the ship. The good news is that the beacon '
                "ahead is real. The strange news is that it calls for help with your own voice. Through "
                "the window you see a wreck of the same make as the Small Hours, turning slowly in the "
                "light of a red star.",
            ),
            Role(
                "an engineer on Lantern Station. You have a tool belt and the only key to the reactor deck",
                "The lights go out on deck four, then on deck five. In the dark your radio crackles: "
                "someone counts backwards from a hundred, calmly, in a language that you have never heard "
                "and still understand. When the red lamps come on, the door to the reactor deck stands "
                "open.",
            ),
            Role(
                "an envoy to the moon of Teth. You have a translator of brass and a gift in a sealed box",
                "The Tethi have no faces, but you have learned to read their hands. Forty of them wait "
                "along the bridge of glass as you step out of the shuttle, and all of their hands say the "
                "same thing. They say: you are late, and the other human is already here.",
            ),
        ),
    ),
    "ashes": Genre(
        "Ashes: a scavenger, a courier or a medic, forty years after the world ended",
        ("Dell", "Rook", "Hanna", "Cass", "Brandt", "Oona"),
        (
            Role(
                "a scavenger in the drowned city. You have a crowbar, a rope and half a bottle of clean "
                "water",
                "The tide is out, and for one hour the lower streets belong to you. In the lobby of the "
                "old bank the mud has been swept aside by someone with a broom. Clean footprints lead to "
                "the vault. Its door, which nobody has opened in forty years, stands ajar.",
            ),
            Role(
                "a courier on the Long Road. You have a bicycle, a sling and a letter that you may not read",
                "The bridge at Miller's Gap was there last spring. Now there is a ferry, a raft of oil "
                "drums on a cable, and a girl of perhaps ten years who holds the rope. She does not want "
                "food or bullets. She wants to know what the letter says.",
            ),
            Role(
                "a medic of the Tower people. You have nine pills, a needle and a name for being honest",
                "They bring you to the camp blindfolded. When the cloth comes off, you see a tent, a boy "
                "with a fever, and a woman with a rifle on her knees who has not slept for days. Behind "
                "her, stacked to the roof, are crates with the red cross of the old world.",
            ),
        ),
    ),
    "sea": Genre(
        "Sea: a captain, a castaway or a stowaway in the Amber Isles",
        ("Bess Harker", "Finn Marlow", "Old Quill", "Lisbet Dray", "Jory Pike"),
        (
            Role(
                "the captain of the sloop Magpie. You have eleven hands, a fast ship and a map with a hole "
                "in it",
                "The fog lifts at noon, and there lies the island, where no chart has one. A thread of "
                'smoke rises from its only hill. "Captain," says the boatswain behind you, and his voice '
                'is not steady. "The anchor is down. Nobody dropped it."',
            ),
            Role(
                "a castaway on an island without a name. You have a knife, a mirror and the ship's cat",
                "On the twelfth morning there is a second set of footprints on the beach. They come out of "
                "the sea, go once around your fire and lead up into the palms. The cat has followed them "
                "already. You can hear it purr.",
            ),
            Role(
                "a stowaway on the treasure ship San Aurelio. You have stolen bread and a very good hiding "
                "place",
                "Your hiding place, it turns out, is taken. In the dark behind the powder barrels a candle "
                'is lit, and a lady in a torn silk dress looks at you over a pistol. "You are either very '
                'unlucky," she whispers, "or you can count to four hundred. Can you?"',
            ),
        ),
    ),
    "ghosts": Genre(
        "Ghosts: a housekeeper, a heir or a piano tuner in the valley of Thornmere",
        ("Agnes", "Lucian", "Edith", "Silas", "Marguerite"),
        (
            Role(
                "the new housekeeper of Thornmere Hall. You have forty keys on a ring and one that fits nothing",
                "On your first night you count the bells on the kitchen wall: eleven rooms, eleven bells. At a "
                "quarter past three the twelfth one rings. You lie still and listen. Then, very softly, somebody "
                "in the passage says good evening to the cook, who died in spring.",
            ),
            Role(
                "the last heir of Thornmere. You have a lawyer's letter and the fare for the journey back",
                "The coachman sets you down at the gate and will not go farther. The house is smaller than you "
                "remember, and there is a light in the nursery. When you reach the door it is opened by a child "
                'who looks like the portrait in the hall. "You took so long," she says. "I had to start without you."',
            ),
            Role(
                "a piano tuner who goes from village to village. You have a fork of steel and perfect pitch",
                "They said that the piano had not been touched in thirty years. It is in perfect tune, save for one "
                "key, the lowest. You press it, and hear nothing. In the garden behind you, all at once, the birds "
                "stop singing.",
            ),
        ),
    ),
}


def genre_of(name: str) -> Genre:
    """Return the genre of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    if name not in GENRES:
        raise UsageError(f"There is no genre {name[:60]!r}.", next_step=f"Genres: {', '.join(GENRES)}.")
    return GENRES[name]


def drawn_start(name: str, seed: int) -> Start:
    """Draw a role and a name; the same seed gives the same.

    Raises
    ------
    UsageError
        There is no such genre.
    """
    genre = genre_of(name)
    draw = Random(f"start:{seed}")  # noqa: S311 - nothing is kept secret by it
    role = draw.choice(genre.roles)
    return Start(name, f"You are {draw.choice(genre.names)}, {role.who}.", role.opening)


def own_start(text: str) -> Start:
    """Begin with a player's own words, turned to the second person.

    Raises
    ------
    UsageError
        There are none.
    """
    opening = as_narration(text)
    if not opening:
        raise UsageError("The beginning is empty.", next_step="Write a sentence or two, or choose a genre.")
    return Start(OWN, "", opening)
