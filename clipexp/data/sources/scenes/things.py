"""What scenes show: 482 of OpenMoji's drawings, with English names for one and for several.

    things()[0].phrase(2, "small red")  # two small red cats

Chosen by hand: no flags, symbols, letters or people, and of drawings that a caption can't tell apart only one.
"""

import functools
from dataclasses import dataclass

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SOUNDS_LIKE_YOU = ("unicorn",)

# Code of the drawing, its name, and behind a slash the plural where that is not the name with an s.
_TABLE = """
# animals
1F431 cat, 1F436 dog, 1F430 rabbit, 1F42D mouse/mice, 1F43C panda, 1F428 koala, 1F43B bear, 1F42F tiger, 1F981 lion,
1F437 pig, 1F438 frog, 1F435 monkey, 1F98A fox/foxes, 1F99D raccoon, 1F43A wolf/wolves, 1F434 horse, 1F984 unicorn,
1F993 zebra, 1F992 giraffe, 1F418 elephant, 1F98F rhinoceros/rhinoceroses, 1F99B hippopotamus/hippopotamuses,
1F42A camel, 1F999 llama, 1F998 kangaroo, 1F404 cow, 1F411 sheep/sheep, 1F410 goat, 1F98C deer/deer,
1FACE moose/moose, 1F9AC bison/bison, 1F98D gorilla, 1F9A7 orangutan, 1F9A5 sloth, 1F994 hedgehog, 1F9A8 skunk,
1F9A1 badger, 1F9AB beaver, 1F9A6 otter, 1F43F chipmunk, 1F987 bat, 1F40A crocodile, 1F422 turtle, 1F40D snake,
1F98E lizard, 1F409 dragon, 1F995 brontosaurus/brontosauruses, 1F996 tyrannosaurus/tyrannosauruses, 1F433 whale,
1F42C dolphin, 1F9AD seal, 1F41F fish/fish, 1F420 tropical fish/tropical fish, 1F421 blowfish/blowfish, 1F988 shark,
1F419 octopus/octopuses, 1F991 squid, 1F980 crab, 1F99E lobster, 1F990 shrimp, 1FABC jellyfish/jellyfish,
1F41A seashell, 1F9AA oyster, 1F40C snail, 1F98B butterfly/butterflies, 1F41B caterpillar, 1F41C ant, 1F41D bee,
1FAB2 beetle, 1F41E ladybird, 1F997 cricket, 1F577 spider, 1F982 scorpion, 1F99F mosquito/mosquitoes, 1FAB0 fly/flies,
1FAB1 worm, 1F413 rooster, 1F424 chick, 1F423 hatching chick, 1F427 penguin, 1F985 eagle, 1F986 duck, 1F9A2 swan,
1F989 owl, 1F9A9 flamingo, 1F99A peacock, 1F99C parrot, 1F9A4 dodo, 1F983 turkey, 1FABF goose/geese, 1F9A3 mammoth,
1F426 bird,
# plants
1F490 bouquet, 1F338 cherry blossom, 1F339 rose, 1F33B sunflower, 1F337 tulip, 1FABB hyacinth, 1FAB7 lotus flower,
1F33A hibiscus/hibiscuses, 1FAB4 potted plant, 1F332 fir tree, 1F333 leafy tree, 1F334 palm tree,
1F335 cactus/cactuses, 1F33E ear of rice/ears of rice, 1F340 four-leaf clover, 1F341 maple leaf/maple leaves,
1F344 mushroom, 1FABE bare tree, 1FAB8 coral, 1F384 Christmas tree, 1F383 jack-o'-lantern,
# food
1F347 bunch of grapes/bunches of grapes, 1F349 slice of watermelon/slices of watermelon, 1F34A tangerine, 1F34B lemon,
1F34C banana, 1F34D pineapple, 1F96D mango/mangoes, 1F34E apple, 1F350 pear, 1F351 peach/peaches,
1F352 pair of cherries/pairs of cherries, 1F353 strawberry/strawberries, 1F95D kiwi fruit/kiwi fruits,
1F345 tomato/tomatoes, 1FAD2 olive, 1F965 coconut, 1F951 avocado, 1F346 aubergine, 1F954 potato/potatoes,
1F955 carrot, 1F33D ear of corn/ears of corn, 1F336 chili pepper, 1FAD1 bell pepper, 1F952 cucumber,
1F966 head of broccoli/heads of broccoli, 1F9C4 head of garlic/heads of garlic, 1F9C5 onion, 1F95C peanut,
1F330 chestnut, 1FADB pea pod, 1F35E loaf of bread/loaves of bread, 1F950 croissant, 1F956 baguette, 1F968 pretzel,
1F96F bagel, 1F95E stack of pancakes/stacks of pancakes, 1F9C7 waffle, 1F9C0 wedge of cheese/wedges of cheese,
1F356 joint of meat/joints of meat, 1F357 chicken leg, 1F953 strip of bacon/strips of bacon, 1F354 hamburger,
1F35F box of chips/boxes of chips, 1F355 slice of pizza/slices of pizza, 1F32D hot dog, 1F96A sandwich/sandwiches,
1F32E taco, 1F32F burrito, 1F95A egg, 1F373 fried egg, 1F957 bowl of salad/bowls of salad,
1F37F box of popcorn/boxes of popcorn, 1F9C8 piece of butter/pieces of butter, 1F9C2 salt shaker, 1F96B tin can,
1F371 bento box/bento boxes, 1F359 rice ball, 1F35A bowl of rice/bowls of rice,
1F35C bowl of noodles/bowls of noodles, 1F35D plate of spaghetti/plates of spaghetti,
1F363 piece of sushi/pieces of sushi, 1F95F dumpling, 1F960 fortune cookie, 1F961 takeaway box/takeaway boxes,
1F366 ice cream cone, 1F369 doughnut, 1F36A biscuit, 1F382 birthday cake, 1F370 slice of cake/slices of cake,
1F9C1 cupcake, 1F967 pie, 1F36B bar of chocolate/bars of chocolate, 1F36C sweet, 1F36D lollipop, 1F36E custard,
1F36F pot of honey/pots of honey, 1F37C baby bottle, 2615 cup of coffee/cups of coffee, 1FAD6 teapot,
1F37E bottle of champagne/bottles of champagne, 1F377 glass of wine/glasses of wine, 1F378 cocktail,
1F37A mug of beer/mugs of beer, 1F964 paper cup, 1F9C3 carton of juice/cartons of juice, 1F9CA ice cube, 1F944 spoon,
1F361 skewer of dumplings/skewers of dumplings,
# travel and places
1F30D globe, 1F5FA map, 1F9ED compass/compasses, 1F30B volcano/volcanoes, 1F3DD desert island, 1F3DB temple,
1F3E0 house, 1F3E2 office building, 1F3E5 hospital, 1F3ED factory/factories, 1F3F0 castle, 26EA church/churches,
26F2 fountain, 26FA tent, 1F3A0 carousel horse, 1F3A1 Ferris wheel, 1F488 barber's pole, 1F3AA circus tent,
1F682 steam engine, 1F684 high-speed train, 1F68B tram, 1F68C bus/buses, 1F691 ambulance, 1F692 fire engine,
1F693 police car, 1F695 taxi, 1F697 car, 1F69A van, 1F69C tractor, 1F3CE racing car, 1F3CD motorcycle, 1F6F5 scooter,
1F6B2 bicycle, 1F6F4 kick scooter, 1F6F9 skateboard, 1F6FC roller skate, 26FD petrol pump, 1F6DE wheel,
1F6A6 traffic light, 2693 anchor, 1F6DF lifebuoy, 26F5 sailing boat, 1F6F6 canoe, 1F6A4 speedboat, 1F6A2 ship,
2708 aeroplane, 1FA82 parachute, 1F681 helicopter, 1F6A0 cable car, 1F6F0 satellite, 1F680 rocket,
1F6F8 flying saucer, 1F5FC radio tower, 1F5FF stone head, 1F6DD slide, 1F6D6 hut, 1F5FB snowy mountain,
# sky and weather
2600 sun, 1F319 crescent moon, 1FA90 planet with a ring/planets with a ring, 2B50 star, 1F320 shooting star,
2601 cloud, 1F327 rain cloud, 1F329 thundercloud, 1F308 rainbow, 26A1 lightning bolt, 2744 snowflake,
26C4 snowman/snowmen, 1F525 fire, 1F4A7 water drop, 1F30A wave, 1F32A tornado/tornadoes, 2604 comet,
# play and music
1F386 firework, 1F388 balloon, 1F389 party popper, 1F380 ribbon bow, 1F381 present, 1F3C6 trophy/trophies,
1F3C5 medal, 26BD football, 26BE baseball, 1F3C0 basketball, 1F3D0 volleyball, 1F3C8 rugby ball, 1F3BE tennis ball,
1F3F8 badminton racket, 1F94A boxing glove, 26F8 ice skate, 1F3A3 fishing rod, 1F6F7 sledge, 1F3AF target,
1FA80 yo-yo, 1FA81 kite, 1F3B1 billiard ball, 1F52E crystal ball, 1FA84 magic wand, 1F3AE game controller,
1F579 joystick, 1F3B2 die/dice, 1F9E9 jigsaw piece, 1F9F8 teddy bear, 1FA85 piñata, 1FA86 nesting doll,
265F chess pawn, 1F3AD pair of masks/pairs of masks, 1F3A8 palette, 1F9F5 spool of thread/spools of thread,
1F9F6 ball of wool/balls of wool, 1F514 bell, 1F3B5 musical note, 1F3A4 microphone,
1F3A7 pair of headphones/pairs of headphones, 1F4FB radio, 1F3B7 saxophone, 1FA97 accordion, 1F3B8 guitar,
1F3B9 piano, 1F3BA trumpet, 1F3BB violin, 1FA95 banjo, 1F941 drum, 1FA98 long drum,
1FA87 pair of maracas/pairs of maracas, 1FA88 flute, 1FA89 harp, 1FA83 boomerang, 1FAA9 mirror ball, 1F945 goal,
# clothes
1F453 pair of glasses/pairs of glasses, 1F97D pair of goggles/pairs of goggles, 1F455 T-shirt,
1F456 pair of jeans/pairs of jeans, 1F9E3 scarf/scarves, 1F9E4 pair of gloves/pairs of gloves, 1F9E5 coat, 1F9E6 sock,
1F457 dress/dresses, 1F458 kimono, 1FA73 pair of shorts/pairs of shorts, 1F459 bikini, 1F45C handbag, 1F392 backpack,
1F45E shoe, 1F45F trainer, 1F97E hiking boot, 1F460 high-heeled shoe, 1FA74 flip-flop, 1F451 crown, 1F452 sun hat,
1F3A9 top hat, 1F393 graduation cap, 1F9E2 cap, 1FA96 helmet, 1F484 lipstick, 1F48D ring, 1F48E gem, 1FAAD fan,
1F302 umbrella,
# objects
1F4F1 phone, 260E telephone, 1F50B battery/batteries, 1F50C plug, 1F4BB laptop, 1F5A8 printer,
1F5B1 computer mouse/computer mice, 1F4BE floppy disk, 1F4BF compact disc, 1F9EE abacus/abacuses, 1F3A5 film camera,
1F3AC clapperboard, 1F4FA television, 1F4F7 camera, 1F4FC video cassette, 1F50D magnifying glass/magnifying glasses,
1F56F candle, 1F4A1 light bulb, 1F526 torch/torches, 1F3EE paper lantern, 1F4D5 book, 1F4DC scroll, 1F4F0 newspaper,
2709 envelope, 1F4E6 parcel, 1F4EB mailbox/mailboxes, 1F5F3 ballot box/ballot boxes, 270F pencil, 1F58B fountain pen,
1F58C paintbrush/paintbrushes, 1F58D crayon, 1F4BC briefcase, 1F4C1 folder, 1F4CB clipboard, 1F4CC drawing pin,
1F4CE paper clip, 1F4D0 set square, 2702 pair of scissors/pairs of scissors, 1F5D1 bin, 1F512 padlock, 1F511 key,
1F528 hammer, 1FA93 axe, 1FA9A saw, 1F527 spanner, 1FA9B screwdriver, 1F529 bolt, 2699 gear, 1F5DC clamp, 1F517 chain,
1FA9D hook, 1F9F0 toolbox/toolboxes, 1F9F2 magnet, 1FA9C ladder, 1FA8F shovel, 1F9EA test tube,
1F9EB petri dish/petri dishes, 1F52C microscope, 1F52D telescope, 1F4E1 dish antenna, 1F489 syringe, 1F48A pill,
1FA79 plaster, 1FA7A stethoscope, 1F6AA door, 1FA9E mirror, 1FA9F window, 1F6CF bed, 1FA91 chair, 1F6BD toilet,
1FAA0 plunger, 1F6BF shower, 1F6C1 bathtub, 1FAA4 mousetrap, 1FA92 razor, 1F9F4 bottle of lotion/bottles of lotion,
1F9F7 safety pin, 1F9F9 broom, 1F9FA basket, 1F9FB toilet roll, 1FAA3 bucket, 1F9FC bar of soap/bars of soap,
1FAA5 toothbrush/toothbrushes, 1F9FD sponge, 1F9EF fire extinguisher, 1F6D2 shopping trolley, 1FAA6 gravestone,
1F3FA vase, 1F6E1 shield, 1F5E1 dagger, 1F3F9 bow and arrow/bows and arrows, 1F4A3 bomb, 1F9E8 firecracker,
1F9F1 brick wall, 1FAA8 rock, 1FAB5 log, 1FAB6 feather, 1F9B4 bone, 1F9B7 tooth/teeth, 1F9E0 brain, 2764 heart,
1F480 skull, 1F916 robot, 1F47B ghost, 1F47D alien, 1F47E space invader, 231B hourglass/hourglasses, 23F0 alarm clock,
231A wristwatch/wristwatches, 1F9F3 suitcase, 1F6CE reception bell, 1F321 thermometer, 1F4E3 megaphone,
1F4EF post horn, 1F5BC picture frame, 1FA8E treasure chest, 1FAD9 jar, 2696 pair of scales/pairs of scales,
1FABA nest with eggs/nests with eggs, 1F578 cobweb, 1FA94 oil lamp,
"""

# Which drawings are of a colour already, so that a tint in it would change too little to be named.
_OF_COLOUR = {
    "red": (
        "1F419 1F980 1F99E 1F990 1F41E 1F982 1F99C 1F339 1F344 1FAB8 1F349 1F34E 1F352 1F353 1F345 1F336 1FAD1 "
        "1F953 1F35F 1F32D 1F37F 1F35C 1F363 1F36B 1F36D 1F377 1F964 1F361 1F3ED 1F3AA 1F68C 1F692 1F697 1F3CE "
        "1F3CD 1F6F5 1F6B2 1F6DF 1F681 1F680 1F5FC 1F6DD 1FA90 2604 1F388 1F380 1F381 1F94A 1F3AF 1F579 1F9F5 "
        "1F3B8 1F941 1FA98 1F9E3 1F9E4 1F392 1F460 1F484 1FAAD 260E 1F3EE 1F4D5 1F58D 1F4CC 2702 1F9F0 1F9F2 "
        "1F489 1F48A 1FAA0 1F9F4 1F9EF 1F6E1 1F3F9 1F9E8 1F9F1 2764 1F321"
    ),
    "orange": (
        "1F431 1F436 1F42F 1F981 1F435 1F98A 1F992 1F42A 1F9A7 1F991 1F337 1FAB4 1F341 1F383 1F955 1F9C5 1F950 "
        "1F956 1F968 1F356 1F357 1F354 1F32D 1F96A 1F36F 1F9C3 1F3A1 1F3C0 1F9F6 1FA87 1F9E6 1F4DC 1F4E6 270F "
        "1F511 1FA9B 1F3FA"
    ),
    "yellow": (
        "1F420 1F41D 1F424 1F33B 1F33E 1F34A 1F34B 1F34C 1F96D 1F33D 1F35E 1F95E 1F9C0 1F355 1F32E 1F32F 1F37F "
        "1F9C8 1F95F 1F960 1F366 1F369 1F382 1F370 1F967 1F36E 1F37A 1F9ED 26FA 1F695 2600 1F319 2B50 1F320 "
        "26A1 1F525 1F389 1F381 1F3C6 1F3C5 1F3BE 1F514 1F3B7 1F3BA 1FA89 1FA74 1F451 1F452 1F3A9 1F4A1 1F512 "
        "1FA91 1F9F9 1F9FD 1F6CE 1F4EF 1FA8E"
    ),
    "green": (
        "1F438 1F40A 1F422 1F40D 1F98E 1F409 1F996 1F41B 1FAB2 1F997 1F99A 1F332 1F333 1F334 1F335 1F340 1F384 "
        "1F350 1F95D 1FAD2 1F951 1F33D 1F952 1F966 1FADB 1F36C 1F378 1F361 1F30D 1F69C 1FA82 1F6A0 1F5FC 1F9E2 "
        "1FA96 1F50B 1F9EA"
    ),
    "blue": (
        "1F433 1F41F 1F420 1F98B 1F41D 1F9A4 1F9C1 1F37C 1F9CA 1F30D 1F5FA 1F3A1 1F488 1F6F9 1F6FC 26F5 1F6F6 "
        "1F6A4 1F6A2 1F6F8 1F4A7 1F30A 26F8 1F3A3 1F6F7 1F9E9 1F455 1F456 1F457 1F48E 1F4EB 1F58C 1F9EB 1F48A "
        "1FA9E 1FA9F 1F6CF 1FA92 1F9F4 1FAA3 1FAA5 1F5BC"
    ),
    "purple": ("1FABC 1FABB 1F347 1F346 1FA80 1F52E 1F459 1F302 1FAB6 1F47E"),
    "pink": ("1F437 1F41A 1FAB1 1F9A9 1F338 1FAB7 1F33A 1F351 1F9C1 1FA81 1F458 1FA79 1F9FC 1F9E0"),
    "brown": (
        "1F43B 1F434 1F999 1F998 1F404 1F410 1F98C 1FACE 1F9AC 1F994 1F9AB 1F9A6 1F43F 1F995 1F421 1F9AA 1F40C "
        "1F41C 1F413 1F985 1F986 1F983 1F9A3 1F426 1FABE 1F34D 1F965 1F954 1F95C 1F330 1F96F 1F9C7 1F36A 1F36E "
        "1F6D6 1F3C8 1F9F8 1F3A8 1F3BB 1FA88 1FA83 1F9E5 1F45C 1F45E 1F97E 1F4BC 1F528 1FA93 1FA9C 1F6AA 1FA9F "
        "1F6CF 1FAA4 1F9FA 1F3F9 1FAB5 1F9F3 1F5BC 1FA8E 1FABA 1FA94"
    ),
    "grey": (
        "1F430 1F42D 1F43C 1F428 1F99D 1F43A 1F993 1F418 1F98F 1F99B 1F411 1F98D 1F9A5 1F994 1F9A8 1F9A1 1F987 "
        "1F42C 1F9AD 1F988 1F577 1F99F 1FAB0 1F427 1F9A2 1F989 1FABF 1F9C4 1F95A 1F373 1F9C2 1F96B 1F371 1F359 "
        "1F35A 1F35D 1F961 2615 1FAD6 1F37E 1F944 1F30B 1F3DB 1F3E2 1F3E5 1F3F0 26EA 26F2 1F3A0 1F684 1F691 "
        "1F693 1F69A 1F6F4 26FD 1F6DE 1F6A6 2693 2708 1F6F0 1F6F8 1F5FF 1F5FB 2601 1F327 1F329 26C4 1F32A 26BD "
        "26BE 1F3D0 1F3F8 1F3B1 1FA84 1F3AE 1F579 1F3B2 265F 1F3AD 1F3B5 1F3A4 1F3A7 1F4FB 1FA97 1F3B9 1FA95 "
        "1FAA9 1F945 1F453 1F97D 1FA73 1F45F 1F393 1F484 1F48D 1F4F1 1F50B 1F50C 1F4BB 1F5A8 1F5B1 1F4BE 1F4BF "
        "1F9EE 1F3A5 1F3AC 1F4FA 1F4F7 1F4FC 1F50D 1F56F 1F526 1F4F0 2709 1F5F3 1F58B 1F4C1 1F4CB 1F4D0 2702 "
        "1F5D1 1F528 1FA93 1FA9A 1F527 1F529 2699 1F5DC 1F517 1FA9D 1FA8F 1F52C 1F52D 1F4E1 1FA7A 1F6BD 1F6BF "
        "1F6C1 1F9F7 1F9FB 1F6D2 1FAA6 1F5E1 1F4A3 1FAA8 1F9B4 1F9B7 1F480 1F916 1F47B 1F47D 231B 23F0 231A "
        "1F4E3 1FAD9 2696 1F578"
    ),
}
# Mostly black, or nothing without their own colours.
_NEVER_TINTED = (
    "1F99E 1F41C 1F577 1F982 1F6F4 1F320 2744 2604 1FA84 1F3B5 1F4CE 1F52D 1FA7A 1F9F7 1F3F9 2696 1F308 1F30D 1F6F7"
)


@dataclass(frozen=True)
class Thing:
    """A drawing and its names: `one` without an article, and `several` of it.

    own_colours: those that it may not be tinted in.
    """

    code: str
    one: str
    several: str
    own_colours: frozenset[str]
    is_tinted: bool

    def phrase(self, num: int, adjectives: str = "") -> str:
        """Such as `a cat`, `an orange cat`, `two small red cats`; at most twelve."""
        if num > 1:
            return " ".join(word for word in (NUMBERS[num - 1], adjectives, self.several) if word)
        words = f"{adjectives} {self.one}".strip()
        return f"{_article(words)} {words}"


@functools.cache
def things() -> tuple[Thing, ...]:
    """All of them, in the table's order."""
    lines = (line for line in _TABLE.splitlines() if line and not line.startswith("#"))
    entries = [entry.strip() for entry in " ".join(lines).split(",") if entry.strip()]
    return tuple(_thing(entry) for entry in entries)


def _thing(entry: str) -> Thing:
    code, names = entry.split(" ", 1)
    one, _, several = names.partition("/")
    own = frozenset(colour for colour, codes in _OF_COLOUR.items() if code in codes.split())
    return Thing(code, one, several or f"{one}s", own, code not in _NEVER_TINTED.split())


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" and not words.startswith(_SOUNDS_LIKE_YOU) else "a"
