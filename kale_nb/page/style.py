"""The style sheet of the page: light and dark, from phone to desk, and on paper."""

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --raised: #f6f8fa; --line: #d1d9e0; --text: #1f2328; --dim: #59636e;
  --link: #0550ae; --warn: #9a6700; --bad: #b42318; --keyword: #b3202c; --string: #0a3069; --comment: #59636e; --number: #0550ae;
  --function: #6639ba; --class: #8a3800; --mark: #0f6b2d; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --raised: #161b22; --line: #30363d; --text: #e6edf3; --dim: #9198a1; --link: #79c0ff; --warn: #d29922;
    --bad: #ff7b72; --keyword: #ff7b72; --string: #a5d6ff; --comment: #9198a1; --number: #79c0ff; --function: #d2a8ff;
    --class: #ffa657; --mark: #56d364; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.5rem 4rem; background: var(--ground); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; overflow-wrap: anywhere; }
a { color: var(--link); text-underline-offset: 0.15em; }
a:focus-visible, pre:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.25rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 0; }
h3 { font-size: 0.95rem; margin: 0 0 0.35rem; color: var(--dim); font-weight: 600; }
code, pre, .mono, .gutter { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 0.86em; }
.dim { color: var(--dim); }
.lead { margin: 0; color: var(--dim); }
.to-text { position: absolute; left: -100rem; }
.to-text:focus { left: 1rem; top: 1rem; background: var(--ground); padding: 0.5rem 1rem; }
.scroll { overflow-x: auto; }
.facts { margin: 0.7rem 0 0; }
.params { margin-top: 1.1rem; }
.graph { margin: 1.5rem 0; }
.graph svg { display: block; margin: 0 auto; }
.graph a { text-decoration: none; }
.graph a:hover .box, .graph a:focus-visible .box { stroke: var(--link); stroke-width: 2.5; }
.graph a:focus-visible { outline: none; }
section { margin-top: 2.25rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
section > header { display: flex; flex-wrap: wrap; gap: 0 0.9rem; align-items: baseline; margin-bottom: 0.9rem; }
section:target > header h2 { text-decoration: underline; text-decoration-color: var(--link); text-decoration-thickness: 3px;
  text-underline-offset: 0.25em; }
.number { color: var(--dim); font-weight: 400; margin-right: 0.5rem; }
.back { margin-left: auto; font-size: 0.85rem; }
.ports { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 0.9rem 2rem; margin: 0 0 1.1rem; }
table { border-collapse: collapse; font-size: 0.92rem; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: baseline; padding: 0.2rem 1.1rem 0.2rem 0; }
th { font-weight: 600; color: var(--dim); }
td:last-child, th:last-child { padding-right: 0; }
.facts th { font-weight: 400; white-space: nowrap; }
.ports p { margin: 0.2rem 0; font-size: 0.92rem; }
.ports .facts { margin: 0; }
.cell { display: grid; grid-template-columns: 5.6rem minmax(0, 1fr); margin: 0.7rem 0; }
.gutter { color: var(--dim); padding-top: 0.62rem; font-size: 0.82em; overflow-wrap: normal; }
.gutter span { display: block; }
.cell pre, .prose pre { margin: 0; padding: 0.6rem 0.8rem; overflow-x: auto; line-height: 1.5; white-space: pre; overflow-wrap: normal; }
.cell pre.code, .prose pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px; }
.cell:target pre.code { border-color: var(--link); }
.output { padding: 0 0 0 0.8rem; border-left: 3px solid var(--line); margin: 0.45rem 0 0 0.2rem; overflow-x: auto; }
.output pre { padding: 0.15rem 0; max-height: 32rem; overflow-y: auto; }
.output pre.err { color: var(--warn); }
.output pre.failed { color: var(--bad); }
.output img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
.note-line { margin: 0.2rem 0; font-size: 0.85rem; color: var(--dim); font-style: italic; }
.prose { min-width: 0; overflow-x: auto; }
.prose > :first-child { margin-top: 0.35rem; }
.prose > :last-child { margin-bottom: 0.35rem; }
.prose h3, .prose h4, .prose h5, .prose h6 { font-size: 1.05rem; color: var(--text); margin: 1rem 0 0.3rem; }
.prose img { max-width: 100%; height: auto; }
.prose table { margin: 0.5rem 0; }
.prose th, .prose td { padding: 0.2rem 0.7rem; border-bottom: 1px solid var(--line); }
.prose blockquote { margin: 0.5rem 0; padding-left: 0.9rem; border-left: 3px solid var(--line); color: var(--dim); }
.finding { border-left: 3px solid var(--warn); padding-left: 0.8rem; margin: 0.7rem 0; }
.finding p { margin: 0; }
details > summary { cursor: pointer; }
details[open] > summary { margin-bottom: 0.7rem; }
summary h2 { display: inline; }
footer { margin-top: 3rem; color: var(--dim); font-size: 0.85rem; }
.c-mark { color: var(--mark); font-weight: 600; }
[class^="c-k"], .c-ow { color: var(--keyword); }
[class^="c-s"] { color: var(--string); }
[class^="c-c"] { color: var(--comment); }
.c-mark[class^="c-"] { color: var(--mark); }
[class^="c-m"]:not(.c-mark) { color: var(--number); }
.c-nf, .c-fm, .c-nd, .c-nb { color: var(--function); }
.c-nc, .c-ne { color: var(--class); }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; }
  h1 { font-size: 1.55rem; }
  .cell { grid-template-columns: minmax(0, 1fr); }
  .gutter { padding: 0 0 0.2rem; }
  .gutter span { display: inline; margin-right: 0.6rem; }
  .back { margin-left: 0; }
}
@media print {
  body { max-width: none; padding: 0; }
  .back, .to-text { display: none; }
  .cell pre, .output pre { white-space: pre-wrap; max-height: none; overflow: visible; }
  .cell { break-inside: avoid; }
}
"""
