"""The styles of the page, light and dark."""

from manager.benchmark import plots

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --page: #fff; --panel: #f6f8fa;
  --c0: #1b6ec2; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #b45309; --c5: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #333c48; --page: #12171d;
  --panel: #1a2129; --c0: #6cb2ff; --c1: #ff9b6b; --c2: #6ddc93; --c3: #c99bff; --c4: #f5c04e; --c5: #5fd6c9; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, dl { color: var(--soft); margin: .25rem 0; } .remark { color: var(--ink); background: var(--panel);
  border-left: 3px solid var(--c1); padding: .4rem .75rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; color: var(--ink);
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); } th, td { padding: .2rem .7rem; text-align: right;
  border-bottom: 1px solid var(--line); white-space: nowrap; } .text { text-align: left; }
th { color: var(--soft); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 1rem; }
svg { width: 100%; background: var(--panel); border-radius: 6px; } svg text { font: 12px system-ui, sans-serif;
  fill: var(--soft); } svg .title { font-weight: 600; fill: var(--ink); } svg .y, svg .unit { text-anchor: end; }
svg .x { text-anchor: middle; } .grid { stroke: var(--line); } polyline.line { fill: none; stroke-width: 2; }
.line.thin { stroke-width: 1; opacity: .75; } .line.dashed { stroke-dasharray: 5 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .5rem 0; }
.legend span { display: inline-block; width: 1.4rem; height: 3px; margin-right: .4rem; vertical-align: middle; }
""" + "\n".join(
    f"polyline.c{n} {{ stroke: var(--c{n}); }} circle.c{n}, .legend .c{n} {{ fill: var(--c{n}); "
    f"background: var(--c{n}); }}"
    for n in range(plots.COLOURS)
)
