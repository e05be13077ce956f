from .mining import Mined as Mined
from .mining import MiningRules as MiningRules
from .mining import absolute_margin as absolute_margin
from .mining import duplicate_rows as duplicate_rows
from .mining import mine as mine
from .mining import relative_margin as relative_margin
from .search import Hits as Hits
from .search import search as search
