"""What a consumer shows of itself."""

from prometheus_client import Counter, Gauge

LAG_EVENTS = Gauge("amana_consumer_lag_events", "Events of the stream not taken yet.", ["consumer", "stream"])
LAG_SECONDS = Gauge("amana_consumer_lag_seconds", "Age of the oldest event not taken yet.", ["consumer", "stream"])
POSITION = Gauge(
    "amana_consumer_position",
    "The position up to which everything was taken; light: the newest.",
    ["consumer", "stream"],
)
TAKEN = Counter("amana_consumer_taken_total", "Messages taken.", ["consumer", "outcome"])
RETRIES = Counter("amana_consumer_retries_total", "Times that a message was tried again.", ["consumer"])
DEAD_LETTERS = Counter(
    "amana_consumer_dead_letters_total", "Messages that became dead letters.", ["consumer", "reason"]
)
LETTERS = Gauge("amana_consumer_letters", "Letters kept: dead, parked, waiting.", ["consumer", "state"])
PARKED_KEYS = Gauge("amana_consumer_parked_keys", "Keys that a letter holds up, by its state.", ["consumer", "state"])
REDRIVES = Counter("amana_consumer_redrives_total", "Letters redriven.", ["consumer", "outcome"])
HELD = Gauge("amana_consumer_held", "1 while no more letters may be parked and nothing is taken.", ["consumer"])
