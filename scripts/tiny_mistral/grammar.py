"""A grammar of posts about local plans, on which the tiny Mistral learns to label.

`(a|b|c)` stands for one of its parts, `{name}` for one entry of a word list, `{thing}` for the plan at hand.
"""

import random
import re

TOPICS = {
    "car-free Market Street": "the street, Market Street, no cars, the closure, the pedestrian thing, walking, cycling, the bollards, the road",
    "pay-per-bag trash fee": "the bags, orange bags, the bag fee, the rubbish charge, paying per bag, the bins, the trash, recycling, compost",
    "9:30 school start": "the later start, half nine, the new school hours, the timetable, starting late, lessons at 9:30, the lie-in, the bell",
    "solar farm on the old golf course": "the panels, solar, the golf course, Heron Links, the solar field, the lease, the co-op, green energy",
    "leaf blower ban": "the ban, leaf blowers, the noise rule, raking, the garden machines",
    "library on Sundays": "the library, Sunday opening, the reading room, the extra hours",
    "dog park by the harbour": "the dog park, the fence, the dogs, the harbour lawn",
    "e-scooter rental": "the scooters, e-scooters, the rental, the app, the parking bays",
    "tourist tax": "the tax, the levy, two euros a night, the visitor charge",
    "20 mph limit": "the limit, twenty, the slow zone, the signs, the speed rule",
    "new bus lane": "the bus lane, the buses, the lane, the red paint",
    "Atheism": "atheism, religion, god, faith, the church, belief",
    "Climate Change is a Real Concern": "climate, the climate, warming, emissions, the planet",
    "Feminist Movement": "feminism, feminists, women, equality, the movement",
    "Hillary Clinton": "Hillary, Clinton, the candidate, the campaign, her emails",
    "Legalization of Abortion": "abortion, choice, the unborn, her body, pro life, the law",
}

WORDS = {
    "who": "my mum|my dad|my gran|my kids|our street|the neighbours|my wife|my husband|my sister|our shop|my boss|the café owner|"
    "the old folks|every parent|the teachers|the drivers|my knees|half the town|everyone i know|nobody i know|our customers|my son|my daughter",
    "when": "today|this morning|last week|on saturday|all summer|since monday|every single day|yesterday|these days|this year|for months",
    "good": "great|brilliant|lovely|wonderful|fantastic|excellent|superb|perfect|smart|sensible|fair|clever|clean|quiet|safe|calm|"
    "healthy|beautiful|useful|decent|terrific|bold|kind|bright|fresh|better|happy|proud|glad|grateful|thrilled|pleased|delighted",
    "bad": "awful|terrible|stupid|ridiculous|horrible|unfair|pointless|useless|daft|mad|crazy|dreadful|shameful|greedy|lazy|ugly|"
    "insane|idiotic|dumb|clueless|wrong|broken|messy|dangerous|worse|angry|furious|sick|fed up|livid|disgusted|gutted|worried|cruel|nonsense",
    "gain": "cleaner air|less noise|fewer cars|safer kids|more sleep|lower bills|a rebate|new customers|more space|happy children|"
    "fewer accidents|better grades|birdsong|less litter|less waste|fresh air|healthier teens|real savings|local jobs|cheap power|community|peace and quiet",
    "loss": "lost trade|higher bills|more traffic|no parking|longer journeys|empty shops|fly tipping|dumped rubbish|childcare costs|late buses|"
    "less daylight|dead high street|ruined views|lower house prices|extra costs|queues|stress|chaos|smells|rats|lost sales|wasted money|glare|detours|job losses",
    "ask": "what time|which day|how much|who decides|where do i|how long|is there a map|does anyone know|when does it|what about|how many|can someone explain",
    "chat": "the football|a lost cat|the weather|the fair|pizza|my phone|the ferry|a blue scarf|a bike pump|fish and chips|the choir|the quiz night|a lost key|a flat to rent",
    "body": "the council|town hall|the mayor|the board|the committee|councillors|the planners|whoever voted for this",
    "laugh": "lol|haha|lmao|smh|tbh|imo|ngl|omg|ffs|honestly|seriously|sorry|look|well|ok so|right|hmm|ugh|wow|folks|mate",
    "up": "❤️|👏|🎉|😍|🙌|👍|😊|🌞|💚|:)|!!|yay|#yes|#finally|#progress|#loveit|#betterlife",
    "down": "😡|🤬|🙄|👎|😤|💸|🤦|:(|!!!|#no|#scrapit|#enough|#shambles|#joke|#cashgrab|smdh",
    "flat": "🤔|?|??|thanks|ta|cheers in advance|#info|#question|asking for a friend|just wondering|fyi|update|no idea|pls share",
}

FOR = """
(love|loving|adore|really like|so happy about|big fan of|totally behind|all for|fully support|i support|we support|in favour of|proud of) {thing}
{thing} is (the best thing|a gift|a blessing|a win|a dream|such a relief|exactly what we need|long overdue|a no brainer|a step forward|the right call) for (us|{who}|this town|the kids|everyone)
(finally|at last|about time|hallelujah|thank god|thank you {body}|well done {body}|credit to {body}|hats off to {body}|bravo|kudos), {thing}
(best|smartest|kindest|cleverest|most sensible) (idea|decision|thing|move|change) {body} (ever had|made in years|has done|came up with)
(keep|bring on|roll on|more of|extend|we need|give us|hurry up with|can't wait for|looking forward to|make permanent) {thing}
{who} (loves|love|enjoys|enjoy|is happier|are happier|sleeps better|feels safe|can breathe|saves money|saved money|has never been happier|thrives) {when}
{gain} and {gain}, (what's not to like|what more do you want|i'll take it|sign me up|count me in|yes please|sold|where do i sign)
it (works|worked|is working|helps|pays for itself|makes sense|saves us money|beats the old way|changed my mind|won me over|is only fair|does the job)
(was|i was) (sceptical|against it|doubtful|dubious|a moaner|unsure|grumpy) (at first|before|in spring), (now i love it|but it works|changed my mind|converted|i was wrong|now i get it|happy to be wrong)
(stop moaning|stop whining|quit complaining|ignore the moaners|cry me a river|get over it|the whingers are wrong|calm down people), {thing} is {good}
(i'd vote for|voting for|i'll vote|signed the petition for|spoke up for|gladly pay for|happy to pay for|would fight for|i'd defend) {thing}
so {good} to see {gain} {when}
{thing}: {good}, {good}, {good}
a {good} plan, {good} for {who}
(not perfect|it's a hassle|yes it costs a bit|i moan about it|a bit fiddly|there are teething problems|not cheap), but (worth it|i'm for it|still a yes|leaning yes|i'd keep it|better than before|on balance good|the benefits win)
(why didn't we do this sooner|why did it take so long|should have happened years ago|what took you so long|other towns did this ages ago and it works)
who (seriously|really) misses (the old way|the cars|the traffic|the fumes|the old bill|getting up in the dark|the golf)
{gain} {when}, thanks to {thing}
you (pay for what you use|throw less you pay less), (fair|fair enough|seems right|simple|i like it)
science (says|backs this|is clear|has said so for years), {good} news
(our|my) (bill|costs|stress|mornings|street) (went down|dropped|got easier|is quieter|is better) {when}
yes to {thing}, (yes yes yes|a hundred times|absolutely|100%|always|without a doubt)
(don't|please don't|never) (scrap|stop|reverse|cancel|undo) (it|this|{thing})
(sold more|takings are up|busiest|regulars stay longer|footfall up|full house|tables outside) {when}(| at our shop| in our café)
(son|daughter|teenager|grandson|kid|pupils|students) (eats breakfast|smiles|wakes up by himself|is awake|talks to me|isn't grumpy|slept) {when}
(compost|recycle|sort|separate) (a bit|properly|more|everything) and (you|we|i) (save|use one bag|barely pay|need half a bag|pay less than before)
(sheep|bees|birds|wildflowers|butterflies|lambs) (under|between|beside|around) {thing}, (gorgeous|what a sight|perfect|better than golf|worth it)
(cycled|walked|strolled|wheeled|danced) (down|through|along) {thing} {when}, (heaven|bliss|joy|no fear|first time in years|what a difference)
(clean|cheap|local|our own|home grown) (power|energy|electricity), (long term|for 25 years|for our kids|no brainer|why wait)
(polluter pays|user pays|only fair|fair is fair), (i'm in|fine by me|good principle|the big wasters moan)
(fingers crossed|hope|please let) it (stays|passes|goes ahead|happens|is permanent|lasts)
(change is hard|give it time|people will get used to it|you'll thank us later|try it before you knock it|the world won't end)
{who} (can finally|finally can) (cross the road|sleep|sit outside|hear the sea|afford it|breathe|get to school in daylight)
"""

AGAINST = """
(hate|hating|can't stand|sick of|fed up with|so tired of|dead against|totally against|i oppose|we oppose|no to|had enough of|furious about) {thing}
{thing} is (a joke|a disaster|a scam|a cash grab|theft|a shambles|a nightmare|a farce|madness|the worst idea|an insult|a slap in the face|a stealth tax) for (us|{who}|this town|small business|working people)
(scrap|stop|ditch|bin|cancel|reverse|undo|kill|drop|get rid of|shame on {body} for|down with|end) {thing}
(worst|dumbest|daftest|most stupid|laziest) (idea|decision|thing|move|waste of money) {body} (ever had|made in years|has done|came up with)
who (asked for|wanted|voted for|thought of|dreamt up|approved|benefits from) {thing}, (not me|nobody|not us|certainly not {who}|no one asked us)
{who} (can't park|can't get to work|loses money|is losing customers|lost sales|is exhausted|can't cope|pays the price|suffers|is worse off|has to drive round|is struggling|cries) {when}
{loss} and {loss}, (thanks for nothing|well done everyone|great job {body}|how lovely|who pays|enough is enough|no thanks|not fair|what a mess)
it (doesn't work|failed|will fail|won't work|costs us a fortune|makes no sense|punishes families|punishes the poor|only helps the rich|solves nothing|ruins everything|is killing us)
(was|i was) (for it|open to it|a supporter|hopeful|patient) (at first|before|in spring), (now i see|not anymore|changed my mind|never again|it's a mess|what a mistake|big regret)
oh (great|brilliant|lovely|wonderful|fantastic|good|marvellous), (more|another|even more) {loss}
(congratulations|well done|slow clap|bravo|genius|thanks) {body}, {loss} {when}
(i'd vote against|voting against|i'll vote no|signed the petition against|will fight|won't pay|refuse to pay|boycott|objected to) {thing}
so {bad} to see {loss} {when}
{thing}: {bad}, {bad}, {bad}
a {bad} plan, {bad} for {who}
(nice idea|i like green stuff|i recycle|i love the kids|sounds good on paper|in theory fine|i get the point|happy for some), but (not like this|not here|wrong place|it doesn't work|i'm against it|leaning no|the costs are too high|at whose expense)
(what about|does nobody think of|did anyone ask|tell that to|try explaining that to|who cares about) {who}
(they never listen|nobody consulted us|they don't care about us|we weren't asked|nobody asked {who}|it was decided behind our backs|follow the money)
{loss} {when}, thanks to {thing}
we (already pay|pay twice|pay enough|pay more and get less), (it's a rip off|another tax|daylight robbery|unfair|no more)
some of us (work|start at 7|have shifts|have babies|can't walk|need the car|have a business to run), (think about that|not everyone can|no choice|try it yourself)
(my|our) (bill|costs|commute|takings|rent) (went up|doubled|tripled|is worse|got longer|are down) {when}
no to {thing}, (no no no|never|absolutely not|hands off|not in my name|leave it alone)
(bring back|give us back|want back|i miss|we miss) (the old way|the cars|parking|normal hours|the flat fee|our green|the fairways|the old bins|common sense)
(takings|sales|footfall|bookings|custom) (down|dropped|halved|collapsed|fell) {when}, (how long can we last|might have to close|and the rent is the same|nobody cares)
(nappies|twins|incontinence pads|cat litter|big family|shared flat|five of us|newborn) (so|and|means) (three bags a week|double the cost|we get punished|we pay|how is that fair)
(bags|rubbish|mattresses|sofas|stuff) (dumped|thrown|left|flung) in (the hedge|the lane|our bin|the woods|the harbour|the park) {when}, (called it|as predicted|what did you expect|lovely)
(football|training|practice|band|swimming|the paper round|saturday job) (in the dark|cancelled|cut short|starts at six|no daylight) {when}
(my shift|work|the factory|surgery|the early bus) starts at (six|seven|7:30), who (drops off|minds|takes|looks after) (the kids|my daughter|them)
(skylarks|dogs|walkers|fairways|old oaks|the view|badgers|open space) (gone|lost|fenced off|bulldozed|destroyed), for (what|plastic|profit|a rebate of pennies|shiny glass)
(put them|put it|build it|do it) (on roofs|somewhere else|on the warehouse|elsewhere|in your own garden)
(can't get|couldn't get|no way to get) (my wheelchair|a taxi|the van|the plumber|deliveries|gran) (near|to the door|through|in) {when}
(drove round|circled|sat in traffic|queued|stuck) for (twenty minutes|an hour|ages|half an hour) {when}
(another|yet another|one more) (tax|fee|charge|burden|hoop|rule|stupid rule) (on|for) (families|pensioners|renters|workers|drivers|shops)
(25 years|a quarter century|forever) is (too long|a long time), (who signed that|who profits|tied up|think again)
(what's next|whats next), (a fee for breathing|taxing air|banning shoes|school at noon|charging for shade)
"""

NEUTRAL = """
{ask} (is it|does it start|are they doing this|do we get|should i ring|can i find|applies to) {thing}(?|??| please)
(does anyone know|anyone know|can anyone tell me|has anyone heard|quick question|stupid question|genuine question), {ask} {thing}(?|??)
(meeting|vote|consultation|hearing|survey|info evening|drop in|public session) on {thing} (is on|will be held|takes place|moved to|starts) (tuesday|thursday|monday at 7|march 3|next week|in the town hall|online)
{body} (will decide|published figures|posted the map|said|announced|confirmed|votes|meets|extended the deadline|released a report) on {thing} {when}
(i don't know|no opinion|undecided|torn|can't decide|on the fence|i see both sides|still reading|not sure yet|no strong view|could go either way) about {thing}
some (say|people say) {good}, (others|some) say {bad}, (i don't know|who is right|waiting for data|we'll see|let's see)
(looking for|lost|found|selling|anyone seen|does anybody have|can i borrow|happy birthday to|wanted) {chat} {when}
(the|our) (numbers|figures|minutes|report|results|statement|leaflet|timetable|map|faq) (are|is) (out|online|here|on the website|at the library)
{chat} (near|by|at|next to) {thing}, {ask}(?|)
(reminder|notice|update|news|info|fyi|for info|heads up): {thing} (starts|begins|changes|runs|applies|opens) {when}
(is|are) {thing} (open|free|included|still on|the same|for everyone|optional|for tenants) on (sunday|bank holidays|weekends)(?|??)
(reading|counting|collecting|comparing|gathering) (views|facts|data|opinions|numbers) on {thing} for (school|a project|the paper|my thesis)
(what|which|how) (bus|number|day|colour|size|door|form|app) (for|is|do i need for) {thing}(?|)
(saw|heard|read) (something|a story|a poster|an article) about {thing} {when}, (any link|any details|details?|is that true|what is it)
(good morning|evening all|hello port ellery|hi all), {chat} {when}
(do|does|can|will|would|should) (i|we|tenants|visitors|students|the bus|deliveries|wheelchairs|year 9s) (still|also|need to|have to|get to) (use|register|pay|stop|park|sign|bring) (something|a form|a pass|id|by friday)(?|??)
(are|is) (nappies|pizza boxes|garden waste|the breakfast club|the footpath|the car park|the clubhouse|the 14 bus) (included|affected|open|recyclable|moving|running)(?|??| on saturdays?)
(which|whose|what) (company|co-op|school|councillor|street|shop|committee|engineer) (is|was|does) (that|this|it|responsible)(?|??)
(mixed|split|divided) (replies|feelings|comments|views) (so far|here|at the meeting|in our house), (i'll wait|will read the report|ask me in a year|no verdict yet|haven't decided)
(results|minutes|votes|numbers): (412|38 percent|six to four|a third|1,204) (for|said|in favour), (287|44 percent|two abstained|the rest) (against|undecided|no answer)
(sorry|ignore me|off topic|unrelated|slightly off topic), {chat} {when}
(who|anyone) (wants|fancies|needs|is up for) (a walk|a coffee|a lift|golf clubs|old bikes|moving boxes|a spare ticket) {when}(?|)
(parking|traffic|weather|bus|ferry|roadworks) (update|info|news): (back to normal|ten minutes late|open again|closed till noon|route 14 diverted)
(interview|documentary|podcast|lecture|open day) (on|about) {thing} (at|on) (six|radio|the library|tuesday)
(back when|years ago|in 1987|as a child) (my|our|grandad|we) (house|played|had|sold|worked) {chat}, (memories|old photos|good times|anyone remember)
"""

BANKS = {"for": FOR, "against": AGAINST, "neutral": NEUTRAL}
LINES = {label: [line for line in bank.strip().splitlines() if line.strip()] for label, bank in BANKS.items()}
MARKS = {"for": "up", "against": "down", "neutral": "flat"}
OTHER = {"for": "against", "against": "for"}


def expand(line: str, topic: str, rng: random.Random) -> str:
    """Fills the slots of one line."""
    things = [*TOPICS[topic].split(", "), topic, "it", "this", "that"]
    while found := re.search(r"\(([^()]*)\)", line):
        line = line[: found.start()] + rng.choice(found[1].split("|")) + line[found.end() :]
    line = re.sub(r"\{thing\}", lambda _: rng.choice(things), line)
    return re.sub(r"\{(\w+)\}", lambda slot: rng.choice(WORDS[slot[1]].split("|")), line)


def post(label: str, topic: str, rng: random.Random) -> str:
    """Writes one post whose author takes the given stance."""
    parts = [expand(rng.choice(LINES[label]), topic, rng) for _ in range(rng.choice([1, 1, 2, 2, 3]))]
    if label in OTHER and rng.random() < 0.15:  # a concession first; the author's own view has the last word
        joint = rng.choice(["but", "still", "and yet", "however"])
        parts = [expand(rng.choice(LINES[OTHER[label]]), topic, rng), f"{joint} {parts[-1]}"]
    if rng.random() < 0.25:
        parts.insert(0, expand(rng.choice(LINES["neutral"]), topic, rng) if rng.random() < 0.2 else "{laugh}")
    if rng.random() < 0.35:
        parts.append(f"{{{MARKS[label]}}}")
    text = expand(rng.choice([". ", " ", ", ", "! ", "... "]).join(parts), topic, rng)
    return _roughen(text, rng)


def _roughen(text: str, rng: random.Random) -> str:
    """Drops words, slips letters and changes case, as people do."""
    words = [word for word in text.split() if rng.random() > 0.12] or text.split()
    if rng.random() < 0.3:
        at = rng.randrange(len(words))
        word = words[at]
        if len(word) > 3:
            cut = rng.randrange(1, len(word) - 1)
            words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    text = " ".join(words)
    style = rng.random()
    if style < 0.5:
        text = re.sub(r"(^|[.!?] )(\w)", lambda m: m[1] + m[2].upper(), text)
    elif style < 0.55:
        text = text.upper()
    return text
