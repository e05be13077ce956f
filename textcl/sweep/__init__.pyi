from .plan import FORMAT as FORMAT
from .plan import Cell as Cell
from .plan import Plan as Plan
from .plan import parse_seeds as parse_seeds
from .table import Result as Result
from .table import mean_and_sd as mean_and_sd
