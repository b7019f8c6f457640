"""The words that are one token in our tokenizer; changing them makes older weights unreadable."""

# ruff: noqa: SIM905 - six hundred quoted words would be harder to read

from __future__ import annotations

__all__ = ["FIRST_WORDS", "WORDS"]

WORDS: tuple[str, ...] = tuple(
    """
the a an of in on at to and or is are was be been being it its this that these those there here with
without for from by as into onto inside within outside over under above below between behind before
after around near beside against along across through off out up down not no none only but if than
then so too also very more most less least same other another each every all any some both either
neither one two three four five six seven eight nine ten zero first second third fourth fifth sixth
seventh eighth ninth tenth last next previous middle center centre central left right top bottom
front back side edge corner upper lower leftmost rightmost topmost bottommost nearest closest
farthest furthest far close near distant largest smallest biggest big small large little tiny huge
tall tallest short shortest long wide narrow thin high low old older oldest young younger youngest
new best who whom whose what which where when why how many much number count total find locate
detect show give list mark name tell say point draw box boxes bounding look looks looking looked see
sees seen can could will would should do does did has have had get gets answer answers answered
format formats reply question write written return output please coordinates coordinate using use as
degrees degree angle angles yaw pitch roll pose poses orientation rotation direction turned turning
turns tilted tilt facing faces face faced toward towards away camera viewer forward backward
sideways straight profile upward downward head heads human humans person persons people man men
woman women boy boys girl girls child children kid kids baby adult adults lady guy guys gentleman
worker workers builder builders engineer player players rider driver passenger pedestrian student
teacher doctor nurse officer police soldier crowd group family couple pair everyone everybody
someone anyone nobody somebody visible hidden occluded partly fully image picture photo photograph
scene frame background foreground pixel pixels region area place position location wearing wears
wear worn dressed holding holds carrying standing stands sitting sits walking running riding driving
playing talking smiling laughing eating drinking reading working jumping leaning bending lying
kneeling waiting pointing raising having hat hats cap caps helmet helmets hard hardhat hardhats
safety hood beanie headscarf scarf turban crown headband headphones mask glasses sunglasses goggles
shirt shirts tshirt blouse jacket jackets coat coats sweater hoodie vest vests suit suits tie dress
dresses skirt pants trousers jeans shorts clothes clothing outfit uniform top sleeves shoes boots
sneakers gloves bag bags backpack handbag purse umbrella phone cup bottle book ball bat racket bike
bicycle motorcycle car truck bus train boat plane horse dog cat bird cow sheep elephant chair table
bench couch sofa bed desk laptop computer screen keyboard tv clock window door wall floor roof
street road sidewalk grass field tree trees water beach snow sky building house room kitchen plate
bowl knife fork spoon pizza cake food fruit apple banana orange glass hair beard mustache bald
ponytail braid bun curly wavy straight bangs fringe eye eyes nose mouth ear ears chin cheek forehead
neck shoulder shoulders arm arms hand hands finger leg legs foot feet body torso chest back skin
landmark keypoint keypoints object objects thing things item items red orange yellow green blue
purple pink brown black white grey gray dark light bright pale blond blonde golden gold silver beige
tan navy maroon teal turquoise violet magenta cyan cream colorful striped stripes checkered plaid
plain dotted colored coloured color colour me you he she they we him her them us his their your my
our its i Answer places size part male female standing alone together among apart beyond exactly
about approximately
""".split()
)

FIRST_WORDS: tuple[str, ...] = tuple(
    """
Where What Which Who How Find Locate Detect Show Give List Mark Name Tell Point Draw Look Is Are
Does Do Can Please Answer The A An All Every Each In On At For Head Heads Image Picture Question
Describe Count Box Boxes Return Output Read Estimate Report State Write yaw pitch roll none head
heads face person people the where what which find give all every box boxes pose
""".split()
)
