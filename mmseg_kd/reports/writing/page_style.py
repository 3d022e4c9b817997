"""The style of a report's page: light and dark, wide and narrow."""

STYLE = """\
:root {
  --text: #1b1f24; --soft: #57606a; --page: #ffffff; --band: #f4f6f8; --line: #d5dae0;
  --accent: #0072b2; --strong: #e8f2f9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e8ec; --soft: #9aa5b1; --page: #14181d; --band: #1d232a; --line: #343c46;
    --accent: #56b4e9; --strong: #1c2f3d;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Malgun Gothic", "Apple SD Gothic Neo",
    "Noto Sans KR", "Noto Sans CJK KR", sans-serif;
}
:lang(ko) { word-break: keep-all; overflow-wrap: break-word; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.5rem 0 0.75rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.3rem; margin: 2.75rem 0 0.75rem; padding-top: 0.75rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1.05rem; margin: 1.75rem 0 0.5rem; }
p, ul { margin: 0.6rem 0; }
ul { padding-left: 1.3rem; }
li { margin: 0.3rem 0; overflow-wrap: break-word; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; font-size: 0.92rem; }
.remark, figcaption { color: var(--soft); font-size: 0.88rem; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; margin: 0.75rem 0; }
table { border-collapse: collapse; font-size: 0.88rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: 0.35rem 0.7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line);
}
thead th { background: var(--band); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--page); }
.text { text-align: left; }
td.text {
  white-space: pre-line; min-width: 9rem; max-width: 26rem; overflow-wrap: anywhere;
}
td.text:last-child { min-width: 15rem; max-width: 44rem; }
tr.strong > * { background: var(--strong); font-weight: 650; }
figure { margin: 1rem 0 1.5rem; }
figure .wide {
  margin: 0; border: 1px solid var(--line); border-radius: 6px; background: #ffffff;
}
img { display: block; width: 100%; min-width: 34rem; max-width: 72rem; height: auto; }
figcaption { margin-top: 0.4rem; }
pre {
  background: var(--band); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.75rem 1rem; overflow-x: auto; font-size: 0.85rem; line-height: 1.45;
}
code { font-family: ui-monospace, SFMono-Regular, Consolas, "Liberation Mono", monospace; }
details {
  margin: 0.6rem 0; border: 1px solid var(--line); border-radius: 6px; padding: 0.4rem 0.8rem;
}
summary { cursor: pointer; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  main { padding: 1rem 0.9rem 3rem; }
  h1 { font-size: 1.35rem; }
  th, td { padding: 0.3rem 0.5rem; }
  tbody th { white-space: normal; min-width: 7rem; max-width: 38vw; overflow-wrap: anywhere; }
  details { padding: 0.4rem 0.6rem; }
}
@media print {
  nav { display: none; }
  details { border: 0; padding: 0; }
  figure, tr { break-inside: avoid; }
}
"""
