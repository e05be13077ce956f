from .measure import BANDS as BANDS
from .measure import PAIRS as PAIRS
from .measure import counts as counts
from .measure import embed as embed
from .measure import hardest_neighbours as hardest_neighbours
from .measure import probe as probe
