from .lengths import TruncationReport as TruncationReport
from .lengths import truncation_report as truncation_report
from .rows import Rows as Rows
from .rows import load_rows as load_rows
from .rows import settle_roles as settle_roles
from .stream import StreamedRow as StreamedRow
from .stream import stream_rows as stream_rows
