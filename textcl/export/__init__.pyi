from .exported import ExportedEncoder as ExportedEncoder
from .load import load_encoder as load_encoder
from .write import CALIBRATION_ROWS as CALIBRATION_ROWS
from .write import export_encoder as export_encoder
from .write import sample_sentences as sample_sentences
