"""Languages of texts: the first article of the Universal Declaration of Human Rights, and what has no language."""

from __future__ import annotations

import pytest

from topwork.inputs import TEXT
from topwork.inputs.text_language import language_of, languages_of

ARTICLES = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience "
    "and should act towards one another in a spirit of brotherhood.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt "
    "und sollen einander im Geiste der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y "
    "conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di "
    "coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de "
    "consciência, devem agir uns para com os outros em espírito de fraternidade.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand en "
    "geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen.",
    "sv": "Alla människor är födda fria och lika i värde och rättigheter. De är utrustade med förnuft och samvete och "
    "bör handla gentemot varandra i en anda av broderskap.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i "
    "sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "Cyrl": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Arab": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "zh": "人人生而自由，在尊严和权利上一律平等。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
}


@pytest.mark.parametrize("code", ARTICLES)
def test_a_sentence_is_known_or_said_to_be_unknown(code: str) -> None:
    assert language_of(ARTICLES[code]) == code


@pytest.mark.parametrize(
    "text", ["", "!!!", "12 34", "Order 7", "brilliant", "a - o - a - o", "a o e a o", "👍", "мы is"]
)
def test_what_has_too_little_to_go_by_is_undetermined(text: str) -> None:
    assert language_of(text) == "und"


@pytest.mark.parametrize(
    "text",
    [
        "add yet another hat to a talented head , clooney's a good director .",
        "a quiet treasure -- a film to be savored .",
        "Die hard is so good, no man can do it as he did",
        "el nino: a rain in spain, no more, la la la",
    ],
)
def test_english_with_words_of_other_languages_is_not_taken_for_those(text: str) -> None:
    assert language_of(text) in ("en", "und")


def test_shares_add_up_and_the_most_frequent_comes_first() -> None:
    shares = languages_of([ARTICLES["en"], ARTICLES["en"], ARTICLES["de"], "…"])
    assert shares == {"en": 0.5, "de": 0.25, "und": 0.25}
    assert next(iter(shares)) == "en"
    assert languages_of([]) == {}


def test_synthetic_pages_are_not_foreign() -> None:
    assert set(languages_of(one.decode() for one in TEXT.synthetic(30, 0))) <= {"en", "und"}
