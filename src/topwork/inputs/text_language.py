"""Which languages texts are in, roughly: by the script of their letters, and for Latin letters by common words.

It is cheap and cautious: what has too little to go by, such as many texts of a few words, is ``und``. It is good enough
to notice that data are in another language than a network was trained on, and no more. It knows no network.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from topwork.inputs.text_opening import words_of

__all__ = ["UNDETERMINED", "language_of", "languages_of"]

UNDETERMINED = "und"

_MOST_LOOKED_AT = 2000
"""Characters of a text that are looked at."""
_LEAST_HITS = 3
_LEAST_DIFFERENT = 2
"""Different common words of two letters or more that there must be."""
_LEAST_SHARE = 0.2
"""Of the words, those that must be common words of the language."""
_LEAST_LEAD = 1.5
"""So many times more common words than of any other language."""

# ISO 639-1 where a script is that of one language, else its code in ISO 15924.
_SCRIPTS = {
    "Latn": "A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff",
    "Cyrl": "\u0400-\u052f",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "he": "\u0590-\u05ff",
    "Arab": "\u0600-\u06ff\u0750-\u077f",
    "Deva": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "th": "\u0e00-\u0e7f",
    "ka": "\u10a0-\u10ff",
    "hy": "\u0530-\u058f",
    "ko": "\u1100-\u11ff\uac00-\ud7af",
    "ja": "\u3040-\u30ff",
    "zh": "\u3400-\u4dbf\u4e00-\u9fff",
}
_LETTERS = {script: re.compile(f"[{letters}]") for script, letters in _SCRIPTS.items()}

_COMMON = {
    "en": "the of and to in is that it was for you with on as are this be at have not but they his from or by an all"
    " there her she he my what which so if out about who just has been would their when your we can more one",
    "de": "der die das und ist nicht ich ein eine zu den mit sich auf für es dem von sie auch als an wie im aus bei"
    " war sind nach wird wir haben hat einen einer noch nur oder aber wenn so zum zur kann mir mich sehr bin er",
    "fr": "le la les de des et est un une que qui dans pour pas ne ce je il elle sur avec plus au par vous nous se"
    " sont mais on du en tout être fait très c'est mon ma sa son ses cette leur été ou où même",
    "es": "el la los las de y que en un una es no por con para se su lo como más pero del al le me muy este esta si"
    " son fue ha está todo también cuando sin sobre hay ser mi porque yo nos ya o desde",
    "it": "il la lo gli le di e che in un una è non per con si da del della sono come ma più anche al nel questo"
    " questa ho ha mi ci dei alla molto se o tutto era essere hanno delle suo sua ne cosa",
    "pt": "o a os as de e que em um uma é não por com para se do da no na dos das mais como mas foi ao ele ela seu"
    " sua ou ser muito eu já está também só pelo pela isso tem são você me quando",
    "nl": "de het een en van ik te dat die in is niet zijn op aan met als voor had er maar om hem dan zou of wat mijn"
    " dit zo door over ze zich bij ook tot je naar heeft deze geen wel was nog worden hebben",
    "sv": "och att det i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du henne"
    " då sin nu har inte hans honom från vi kan när ska mycket eller min också alla",
    "da": "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde ham"
    " hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal meget efter være",
    "nb": "og i jeg det at en et den til er som på de med han av ikke der så var meg seg men ett har om vi min mitt"
    " hun nå over da ved fra du ut sin dem oss opp man kan hans hvor eller hva skal selv mye etter være",
    "fi": "ja on ei se että hän oli mutta niin kun kuin olen olla ovat hänen minä sitä tämä siitä jos myös vain mitä"
    " en sen joka mukaan kanssa ole sekä hyvin nyt",
    "pl": "i w na nie się z do to że jest jak o co ale po tak za od przez czy tym są był była było ja może już jego"
    " jej mnie dla bardzo tylko który która które mi ten być",
    "cs": "a se v na je že to s z do o i jako ale jsem za by tak po jeho jsou byl byla bylo co jak nebo který která"
    " jen už si mi pro velmi když má být ve není",
    "ro": "și în de la a nu o cu pe care că este un din să mai se pentru sunt ca au dar ce el ea lui fost am al prin"
    " foarte acest această sau după",
    "hu": "a az és hogy nem is egy ez van azt volt csak de meg mint ki már még el ha vagy én nagyon mert kell most"
    " minden lehet amit olyan ezt aki",
    "tr": "bir ve bu da de için çok ne ile daha gibi o ben var mi değil ama kadar olarak en sonra her şey olan benim"
    " bana mı diye ya nasıl sen",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada juga saya ke karena tersebut bisa ada mereka"
    " lebih sudah atau seperti oleh kami sangat adalah dia kita",
    "vi": "và của là có không được cho một người trong với tôi các để những này khi đã rất như nhiều về cũng ở từ"
    " ra đi làm anh đó thì lại",
}
_LANGUAGES_OF_WORD: dict[str, tuple[str, ...]] = {
    word: tuple(code for code, words in _COMMON.items() if word in words.split())
    for word in {word for words in _COMMON.values() for word in words.split()}
}


def languages_of(texts: Iterable[str]) -> Mapping[str, float]:
    """Return which share of the texts is in which language, the most frequent first.

    Languages are ISO 639-1 codes; a script of several languages that are not told apart is its ISO 15924 code, such
    as ``Cyrl``; ``und`` is what cannot be told.
    """
    counts = Counter(language_of(text) for text in texts)
    return {code: count / counts.total() for code, count in counts.most_common()}


def language_of(text: str) -> str:
    """Return the language of one clean text; see `languages_of`."""
    start = text[:_MOST_LOOKED_AT]
    script = "Latn" if start.isascii() else _script_of(start)
    return _of_latin(start) if script == "Latn" else script


def _script_of(start: str) -> str:
    n_letters = {script: len(letters.findall(start)) for script, letters in _LETTERS.items()}
    if n_letters["ja"] and n_letters["ja"] * 10 >= n_letters["zh"]:
        n_letters["ja"] += n_letters["zh"]  # Japanese is mostly Han in some texts, Chinese never holds kana
    script = max(n_letters, key=n_letters.__getitem__)
    return script if 2 * n_letters[script] > sum(n_letters.values()) else UNDETERMINED


def _of_latin(text: str) -> str:
    words = words_of(text.lower())
    hits = Counter(code for word in words for code in _LANGUAGES_OF_WORD.get(word, ()))
    best = hits.most_common(2)
    if not best or best[0][1] < max(_LEAST_HITS, _LEAST_SHARE * len(words)):
        return UNDETERMINED
    code, n_hits = best[0]
    # "a" and "o" are common words of many languages, and everywhere in English that is cut up.
    telling = {word for word in words if len(word) > 1 and code in _LANGUAGES_OF_WORD.get(word, ())}
    is_clear = len(best) == 1 or n_hits >= _LEAST_LEAD * best[1][1]
    return code if is_clear and len(telling) >= _LEAST_DIFFERENT else UNDETERMINED
