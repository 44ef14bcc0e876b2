"""The small words by which captions relate, count and describe things: what `phrases` knows of English."""

from sfumato.condition.colors import HSV


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RELATING = _words(
    "and with in wearing on above below under over beside behind near next to at by inside into onto underneath beneath"
    " atop against between around along across from or through among past out off for as upon toward towards than half"
    " vs versus that who which has have having is are was were wears holds sits stands lies rides carries eats plays"
    " chases"
)
"""Words that stand between two things, wherever they are."""
DOING = _words(
    "holding carrying riding eating playing driving drinking reading cooking watching chasing catching making using"
    " throwing kicking juggling stealing fighting kissing hugging watering pushing pulling breathing"
)
"""Those that do so after a thing, and else belong to one: "a cat eating cake", "a playing card"."""
BEFORE_OF = _words(
    "left right front top bottom middle center centre side corner back inside outside out made full mix picture image"
    " photo photograph drawing painting illustration emoji icon logo sticker sketch portrait"
)
"""Those that do so with "of" after them."""
ABSENT = _words("no not without zero except")
"""After which stands what is not to be seen."""
IS = _words("is are was were")
OF_ONE = _words("a an this each every")
DETERMINERS = OF_ONE | _words("my your his her its our their")
"""Before which a thing ends that another begins with: "a dog chasing a cat"."""
ARTICLES = DETERMINERS | _words("the some these those all both either very really so too quite extremely")
SIZE_WORDS = _words("small little tiny mini miniature large big huge giant enormous colored coloured")
ASKING = _words(
    "hand there here it them please draw paint show make generate create give me i we you want would like need can"
    " could what how does do new app logo title mix sitting standing lying placed facing"
)
PLACES = _words("left right top bottom middle center centre side corner upper lower edge front each other another")
BEFORE = ARTICLES | ASKING
"""What is not of a thing before its words."""
MULTIPLIERS = frozenset("x×")
COUNTED = ARTICLES | SIZE_WORDS | MULTIPLIERS | {"of"}
"""What may stand between a number and a thing."""
AFTER = PLACES | _words(
    "sitting standing lying placed facing emoji icon look looks like please lived living made dressed filled covered"
    " bigger smaller larger taller"
)
"""What is not of a thing after its words."""
FILLERS = BEFORE | COUNTED | AFTER
COLOURS = _words("cyan magenta beige navy") | HSV.keys()
SHADE_WORDS = _words("light dark pale bright deep soft plain pastel solid")
GROUNDS = _words("background backdrop gradient")
NOT_DOING = _words(
    "string spring building painting drawing wedding ceiling earring lightning pudding duckling seedling dumpling"
    " sibling darling viking stocking clothing morning evening"
)
"""Things in -ing."""
PLURALS = _words("mice men women children people teeth feet geese dice cacti")
ONE = _words(
    "glasses sunglasses goggles scissors jeans shorts pants trousers socks gloves headphones grapes cherries"
    " blueberries pancakes fries noodles clothes fireworks christmas canvas lens news mars"
)
"""What a single picture shows, though it ends in s."""
GROUPS = {"pair": 2, "couple": 2, "bunch": 3, "group": 3, "family": 3, "herd": 3, "flock": 3, "lot": 5, "crowd": 5}
"""How many are in one, if "of" follows; so of its plural."""
NUMBER_WORDS = {"single": 1, "twin": 2, "couple": 2, "few": 3, "several": 3, "many": 5, "dozen": 12, "hundred": 100} | {
    word: number
    for number, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), start=1)
}


def number(word: str) -> int:
    """The number that a word says, 0 if none: "three", "3", "3x", "x3"."""
    found = NUMBER_WORDS.get(word)
    if found is None:
        digits = word.strip("x×")
        found = int(digits) if digits.isdecimal() and len(digits) < 4 else 0
    return found


def is_doing(word: str) -> bool:
    """Whether a word says what a thing does: "sleeping"."""
    return len(word) > 5 and word.endswith("ing") and " " not in word and word not in NOT_DOING


def is_plural(word: str) -> bool:
    """Whether a word is a plural, as far as its spelling shows."""
    if word in PLURALS:
        return True
    return len(word) > 3 and word[-1] == "s" and not word.endswith(("ss", "us", "is", "'s")) and word not in ONE
