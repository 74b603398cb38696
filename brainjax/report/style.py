"""The look of the report, and the few lines of script that sort a table."""

CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2126;--soft:#5b6670;--line:#d5dade;
--panel:#f4f6f8;--bar:#0072b233;--accent:#0072b2}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e6eaee;--soft:#a3aeb8;
--line:#363f47;--panel:#1d2329;--bar:#56b4e944;--accent:#56b4e9;--blue:#3d9fe0}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.5rem clamp(.8rem,3vw,2.5rem) 4rem;
background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"Noto Sans","DejaVu Sans",sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.4rem 0 .8rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.4rem 0 .5rem;overflow-wrap:anywhere}
p{max-width:48rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:1rem 0}
a{color:var(--accent)}
pre{background:var(--panel);padding:.7rem .9rem;border-radius:.4rem;overflow-x:auto;
font-size:.9rem;white-space:pre-wrap;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.8rem;
margin:1rem 0;padding:0;list-style:none}
.cards li{background:var(--panel);border-radius:.5rem;padding:.7rem .9rem}
.cards .value{display:block;font-size:1.6rem;font-weight:600;font-variant-numeric:tabular-nums}
.cards .name{display:block}
.cards .name,.note,figcaption,caption{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto;margin:.6rem 0 1.2rem}
table{border-collapse:collapse;font-size:.93rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.2rem 0}
th,td{padding:.32rem .75rem;border-bottom:1px solid var(--line);text-align:right;
white-space:nowrap}
th:first-child{text-align:left;font-weight:600}
td.text{text-align:left;white-space:normal;overflow-wrap:anywhere;font-family:ui-monospace,
Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88rem}
.pairs th{font-weight:400;vertical-align:top}
thead th{vertical-align:bottom;border-bottom-width:2px;white-space:normal}
abbr{text-decoration:none}
td.words,thead th.words{text-align:left;white-space:normal;min-width:24rem}
td.bar{background:linear-gradient(to right,var(--bar) calc(var(--share)*100%),transparent 0)}
th button{font:inherit;font-weight:600;color:inherit;background:none;border:0;padding:0;
cursor:pointer;text-align:inherit}
th button::after{content:"\\a0\\2195";color:var(--soft)}
th[aria-sort=ascending] button::after{content:"\\a0\\2191"}
th[aria-sort=descending] button::after{content:"\\a0\\2193"}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));gap:1.2rem}
.plots svg{width:100%;height:auto;max-width:36rem}
.plots.large{grid-template-columns:repeat(auto-fill,minmax(min(27rem,100%),1fr))}
.plots .wide{grid-column:1/-1}
svg text{font-family:inherit!important}
figure{margin:0}
.views{display:grid;grid-template-columns:repeat(4,1fr);gap:.4rem}
@media (max-width:44rem){.views{grid-template-columns:repeat(2,1fr)}
th,td{padding:.3rem .5rem}
tbody th:first-child{white-space:normal;overflow-wrap:anywhere;min-width:8.5rem;
hyphens:auto}}
.views img{display:block;width:100%;height:auto;background:#000;border-radius:.3rem}
img.whole{aspect-ratio:1;object-fit:contain;image-rendering:auto}
.views figcaption,.strip figcaption{overflow-wrap:anywhere;white-space:pre-line;
line-height:1.35;margin:.2rem 0 .5rem}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(7rem,1fr));gap:.4rem}
.strip img{display:block;width:100%;height:auto;background:#000;border-radius:.3rem}
.strip figcaption{font-size:.8rem}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;margin:.4rem 0 .8rem;font-size:.93rem}
.legend i{display:inline-block;width:2rem;margin-right:.5rem;vertical-align:middle;
border-top:4px solid}
.legend i.dashed{border-top-style:dashed}
details>summary{cursor:pointer;margin:.5rem 0}
@media print{.scroll{overflow:visible}nav{display:none}}
"""

SCRIPT = """
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach(other => other.setAttribute('aria-sort', 'none'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const rows = [...table.tBodies[0].rows];
    const key = row => {
      const cell = row.cells[column];
      return 'value' in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const empty = value => value === 'n/a';
    rows.sort((first, second) => {
      const a = key(first), b = key(second);
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      const order = typeof a === 'number' && typeof b === 'number'
        ? a - b : String(a).localeCompare(String(b), undefined, {numeric: true});
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }));
}
"""
