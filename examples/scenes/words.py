"""The things that scenes show: the word that people say, and the captions of the pictures that show it.

A line is "word = caption, caption …": the first caption that the style has is drawn, so that a word means one picture
in each style. "word, word = caption" has further words for the same thing. "word / plural" gives a plural that is not
made by rule, and "word / -" is for things that are neither counted nor have an article ("sunglasses", "popcorn").
"""

from dataclasses import dataclass

ANIMALS = """
cat = cat face, cat
dog, puppy = dog face, dog
mouse / mice = mouse face, rat
tiger = tiger face, tiger
cow = cow face, cow
pig = pig face, pig
rabbit, bunny = rabbit face, rabbit
monkey = monkey face, monkey
fox / foxes = fox
bear = bear
panda = panda
polar bear = polar bear
koala = koala
lion = lion
hamster = hamster
frog = frog
wolf / wolves = wolf
owl = owl
penguin = penguin
chicken, hen = chicken
rooster = rooster
horse = horse, horse face
unicorn = unicorn
dragon = dragon face, dragon
zebra = zebra
giraffe = giraffe
elephant = elephant
rhino, rhinoceros = rhinoceros
hippo, hippopotamus = hippopotamus
camel = camel, two-hump camel
kangaroo = kangaroo
goat = goat
sheep / sheep = ewe
deer / deer = deer
llama = llama
hedgehog = hedgehog
skunk = skunk
squirrel = chipmunk
beaver = beaver
otter = otter
sloth = sloth
badger = badger
gorilla = gorilla
poodle = poodle
chick = front-facing baby chick, baby chick
duck = duck
swan = swan
eagle = eagle
parrot = parrot
peacock = peacock
flamingo = flamingo
turkey = turkey
dove = dove
bird = bird
bat = bat
crocodile = crocodile
turtle = turtle
snake = snake
dinosaur = sauropod, T-Rex
whale = spouting whale, whale
dolphin = dolphin
seal = seal
shark = shark
fish / fish = fish
tropical fish / tropical fish = tropical fish
octopus / octopuses = octopus
squid / squid = squid
crab = crab
lobster = lobster
shrimp / shrimp = shrimp
snail = snail
butterfly = butterfly
bee = honeybee
ladybug, ladybird = lady beetle
ant = ant
beetle = beetle
spider = spider
scorpion = scorpion
worm = worm
"""

PEOPLE = """
baby = baby
girl = girl
man / men = man
woman / women = woman
old man / old men = old man
old woman / old women = old woman
smiley, smiling face = smiling face with smiling eyes, smiling face
neutral face = neutral face
robot = robot
alien = alien
ghost = ghost
snowman / snowmen = snowman without snow, snowman
clown = clown face
skull = skull
jack-o-lantern, pumpkin = jack-o-lantern
fairy = fairy
mermaid = mermaid
vampire = vampire
zombie = zombie
wizard, mage = mage
superhero / superheroes = superhero
princess / princesses = princess
prince = prince
astronaut = astronaut
cook, chef = cook
farmer = farmer
firefighter = firefighter
detective = detective
ninja = ninja
teddy bear = teddy bear
"""

FOOD = """
apple = red apple
pear = pear
orange, tangerine = tangerine
lemon = lemon
banana = banana
watermelon = watermelon
grapes / - = grapes
strawberry = strawberry
blueberries / - = blueberries
cherries / - = cherries
peach / peaches = peach
mango / mangoes = mango
pineapple = pineapple
coconut = coconut
kiwi = kiwi fruit
melon = melon
tomato / tomatoes = tomato
avocado = avocado
eggplant, aubergine = eggplant
potato / potatoes = potato
carrot = carrot
corn / - = ear of corn
pepper = hot pepper
bell pepper = bell pepper
cucumber = cucumber
broccoli / - = broccoli
garlic / - = garlic
onion = onion
mushroom = mushroom
chestnut = chestnut
bread / - = bread
croissant = croissant
baguette = baguette bread
pretzel = pretzel
bagel = bagel
waffle = waffle
pancakes / - = pancakes
cheese / - = cheese wedge
bacon / - = bacon
hamburger, burger = hamburger
fries / - = french fries
pizza = pizza
hot dog = hot dog
sandwich / sandwiches = sandwich
taco = taco
burrito = burrito
egg = egg
popcorn / - = popcorn
butter / - = butter
salad = green salad
spaghetti / - = spaghetti
sushi / - = sushi
rice / - = cooked rice
dumpling = dumpling
ice cream = soft ice cream, ice cream
doughnut, donut = doughnut
cookie = cookie
birthday cake = birthday cake
cake = shortcake
cupcake = cupcake
pie = pie
chocolate bar = chocolate bar
candy / candies = candy
lollipop = lollipop
honey / - = honey pot
milk / - = glass of milk
coffee / - = hot beverage
teapot = teapot
bottle = bottle with popping cork
wine glass / wine glasses = wine glass
cocktail, tropical drink = tropical drink
beer = beer mug
spoon = spoon
"""

PLANTS = """
rose = rose
tulip = tulip
sunflower = sunflower
flower, blossom = blossom
cherry blossom = cherry blossom
bouquet = bouquet
lotus / lotuses = lotus
seedling = seedling
potted plant, plant = potted plant
tree = deciduous tree
pine tree, fir = evergreen tree
palm tree = palm tree
cactus / cacti = cactus
Christmas tree = Christmas tree
clover, four-leaf clover = four leaf clover
maple leaf / maple leaves = maple leaf
"""

TRAVEL = """
car = oncoming automobile
racing car, race car = racing car
taxi = taxi
police car = police car
bus / buses = bus
ambulance = ambulance
fire engine, fire truck = fire engine
truck, lorry = articulated lorry
delivery truck, van = delivery truck
pickup truck = pickup truck
tractor = tractor
bicycle, bike = bicycle
motor scooter = motor scooter
kick scooter = kick scooter
skateboard = skateboard
train = train
locomotive, steam train = locomotive
tram = tram
airplane, plane = airplane
helicopter = helicopter
rocket = rocket
parachute = parachute
sailboat = sailboat
speedboat = speedboat
ship = ship
ferry = ferry
anchor = anchor
traffic light = vertical traffic light
house = house with garden
hut = hut
office building = office building
hospital = hospital
hotel = hotel
school = school
factory = factory
castle = castle
church / churches = church
mosque = mosque
tower = Tokyo tower
tent = tent
fountain = fountain
ferris wheel = ferris wheel
mountain = mountain, snow-capped mountain
volcano / volcanoes = volcano
globe = globe showing Europe-Africa
"""

SKY = """
sun = sun
moon, crescent moon = crescent moon
full moon = full moon
star = star
cloud = cloud
rain cloud = cloud with rain
lightning / - = high voltage
rainbow = rainbow
umbrella = umbrella with rain drops, closed umbrella
snowflake = snowflake
fire, flame / - = fire
droplet = droplet
planet = ringed planet
tornado / tornadoes = tornado
"""

PLAY = """
soccer ball, football = soccer ball
basketball = basketball
baseball = baseball
volleyball = volleyball
tennis ball = tennis
rugby ball = rugby football
frisbee = flying disc
boxing glove = boxing glove
kite = kite
yo-yo = yo-yo
balloon = balloon
wrapped gift, present, gift = wrapped gift

medal = sports medal
party popper = party popper
die / dice = game die
puzzle piece = puzzle piece
guitar = guitar
violin = violin
trumpet = trumpet
saxophone = saxophone
drum = drum
accordion = accordion
piano = musical keyboard
microphone = studio microphone
crystal ball = crystal ball
magic wand = magic wand
"""

CLOTHES = """
top hat, hat = top hat
sun hat, hat = woman’s hat
crown = crown
cap = billed cap
helmet = rescue worker’s helmet, military helmet
graduation cap = graduation cap
glasses / - = glasses
sunglasses / - = sunglasses
goggles / - = goggles
diving mask, mask = diving mask
headphones / - = headphone
bow = ribbon
scarf / scarves = scarf
t-shirt, shirt = t-shirt
coat = coat
dress / dresses = dress
jeans / - = jeans
shorts / - = shorts
kimono = kimono
bikini = bikini
socks / - = socks
gloves / - = gloves
shoe = running shoe
boot = woman’s boot
high heel = high-heeled shoe
handbag = handbag
backpack = backpack
ring = ring
lipstick = lipstick
"""

OBJECTS = """
chair = chair
couch, sofa / couches = couch and lamp
bed = bed
bathtub = bathtub
toilet = toilet
mirror = mirror
candle = candle
light bulb = light bulb
flashlight = flashlight
lantern = red paper lantern
alarm clock, clock = alarm clock
watch / watches = watch
hourglass / hourglasses = hourglass done
telephone = telephone
mobile phone, phone = mobile phone
laptop = laptop
computer = desktop computer
television, TV = television
radio = radio
camera = camera
book = closed book
open book = open book
newspaper = rolled-up newspaper
envelope = envelope
pencil = pencil
crayon = crayon
paintbrush / paintbrushes = paintbrush
palette = artist palette
briefcase = briefcase
suitcase = luggage
shopping cart = shopping cart
key = key
lock = locked
hammer = hammer
axe = axe
wrench / wrenches = wrench
screwdriver = screwdriver
saw = carpentry saw
scissors / - = scissors
ladder = ladder
bucket = bucket
broom = broom
basket = basket
sponge = sponge
magnet = magnet
microscope = microscope
telescope = telescope
pill = pill
syringe = syringe
thermometer = thermometer
dagger, knife / knives = dagger
shield = shield
bell = bell
money bag = money bag
coin = coin
gem, diamond = gem stone
heart = red heart

"""

ALIASES = """
cat = kitten
dog = bulldog, golden retriever, hound
girl = daughter, sister
man = boy, dad, father, guy, king, knight, pirate
woman = mom, mother, lady, queen
child = kid
person = people, human
man health worker = doctor
woman health worker = nurse
police officer = policeman, policewoman, cop
firefighter = fireman
guard = soldier
artist = painter
wizard = witch, magician
superhero = hero
smiling face with horns = devil, demon
Santa Claus = santa
smiley = face, smile, happy face
raised hand = hand
mouth = lips
horse = pony
cow = calf
sheep = lamb
pig = piglet
chick = duckling
monkey = ape, chimpanzee
crocodile = alligator
turtle = tortoise
lizard = gecko, iguana
dinosaur = dino
T-Rex = tyrannosaurus
bird = sparrow, robin
black bird = crow, raven
dove = pigeon
duck = rubber duck
tropical fish = goldfish
bee = wasp, bumblebee
butterfly = moth
worm = caterpillar
top hat = fedora, bowler hat, witch hat, cowboy hat, party hat, wizard hat, magic hat
sun hat = straw hat, sombrero
cap = baseball cap, beanie, santa hat, beret
rescue worker’s helmet = hard hat
crown = tiara
glasses = spectacles, eyeglasses
headphones = headset, earphones
necktie = tie
bow = bow tie, hair bow
prayer beads = necklace, beads
coat = suit, jacket, cape, cloak, sweater
dress = skirt, gown
jeans = pants, trousers
shoe = sneaker
handbag = bag
car = sports car, automobile, vehicle
sport utility vehicle = suv, jeep
motor scooter = motorbike
airplane = jet, aircraft, aeroplane
ship = boat, pirate ship
sailboat = sailing boat, yacht
metro = subway
rocket = spaceship, spacecraft
balloon = hot air balloon
alien = ufo
house = home, cottage, barn
office building = building, skyscraper, office
castle = palace
tower = eiffel tower
hut = shed
bridge at night = bridge
motorway = path, street
mountain = hill
water wave = sea, ocean, lake, river, wave
beach with umbrella = beach, sand, shore
desert island = island
pine tree = forest, woods
tree = oak
seedling = grass, sprout
leaf fluttering in wind = leaf, leaves
flower = daisy, poppy
cloud = sky
night with stars = night, night sky
milky way = galaxy, space, universe
globe = earth, world
sun = sunshine
lightning = lightning bolt, thunderbolt, thunder
cloud with lightning and rain = storm, thunderstorm
droplet = water, rain
snowflake = snow
fire = campfire, bonfire
collision = explosion
heart = love, heavy black heart, hugs
coffee = tea, cup of tea, cup of coffee, coffee cup, cup, mug, hot chocolate
wine glass = glass of wine
bottle = bottle of wine, wine bottle
cup with straw = soda, cola, lemonade, milkshake, smoothie
beverage box = juice
spaghetti = macaroni, pasta, noodles
salad = bowl of soup, soup
bowl with spoon = bowl
fork and knife = fork
fork and knife with plate = plate
pot of food = pot
cut of meat = meat
poultry leg = chicken leg, drumstick
bacon = ham
cookie = biscuit
candy = sweet, sweets
chocolate bar = chocolate
lollipop = lolly
dagger = sword
flashlight = torch
computer = monitor, screen
mobile phone = cell phone, cellphone
guitar = ukulele
trumpet = horn
soccer ball = ball
triangular flag = flag
envelope = letter, mail
package = box, parcel
page facing up = paper, document
magnifying glass tilted left = magnifying glass
nut and bolt = screw
gear = cog
money bag = money, cash
coin = gold
gem = jewel, treasure
"""
"""Words that scenes do not use, for a thing of theirs or the caption of a picture that shows it, or what is nearest to
it: the sprites know them too."""


@dataclass(frozen=True)
class Thing:
    """A thing to show: `word` names it, `words` are all that name it (`word` first), with their `plurals`."""

    word: str
    words: tuple[str, ...]
    plurals: tuple[str, ...]
    captions: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether there is an article before it, and a number."""
        return bool(self.plurals)


def things() -> dict[str, Thing]:
    """Every thing, by its word."""
    groups = (ANIMALS, PEOPLE, FOOD, PLANTS, TRAVEL, SKY, PLAY, CLOTHES, OBJECTS)
    return {thing.word: thing for group in groups for line in group.split("\n") if line for thing in [_thing(line)]}


def aliases() -> dict[str, tuple[str, ...]]:
    """The further words for things, by the word or the caption of each."""
    lines = (line.split(" = ") for line in ALIASES.strip().splitlines())
    return {word: tuple(others.split(", ")) for word, others in lines}


def plural(word: str) -> str:
    """The plural by rule: apples, cherries, boxes."""
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    vowel = words[0].lower() in "aeiou" and not words.startswith(("uni", "one", "eu"))
    return f"{'an' if vowel else 'a'} {words}"


def _thing(line: str) -> Thing:
    left, captions = line.split(" = ")
    names, _, irregular = left.partition(" / ")
    words = tuple(names.split(", "))
    plurals = [plural(word) for word in words]
    if irregular:
        plurals[0] = irregular
    return Thing(words[0], words, () if irregular == "-" else tuple(plurals), tuple(captions.split(", ")))
