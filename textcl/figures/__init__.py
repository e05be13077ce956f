"""Figures in one house style: Altair charts, in light and dark, as PNG, SVG or a page that needs no network.

    from textcl.figures import altair, save, titled

    alt = altair()  # the library, or one sentence about the extra that is missing
    chart = alt.Chart(alt.Data(values=rows)).mark_line().encode(x="step:Q", y="loss:Q")
    save(titled(chart, "Loss", "Loss by update; it falls from 3.1 to 0.2"), Path("loss.svg"))

Charts name no colours: they take them from the theme, so that one chart is right on white and on black. Series get the
colours of Okabe and Ito (2008), which people with colour-blindness can tell apart.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
