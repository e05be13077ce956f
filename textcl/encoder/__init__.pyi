from .encoder import PARITY_TEXTS as PARITY_TEXTS
from .encoder import Encoder as Encoder
from .masked_tokens import MaskedTokenLoss as MaskedTokenLoss
from .momentum import CosineMomentum as CosineMomentum
from .momentum import FrozenEncoder as FrozenEncoder
from .momentum import MomentumEncoder as MomentumEncoder
from .packing.drophead import install_drophead as install_drophead
