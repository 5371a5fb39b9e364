/** On a light screen. */
const LIGHT = `--ground: #ffffff; --panel: #f5f6f8; --ink: #1c2024; --faint: #5b6470; --line: #d5d9df; --link: #0b57b0;
  --good: #146c37; --bad: #b3261e; --warning: #7a4d00;
  --projection: #e3ecf8; --heart: #fdf0d0; --negative: #f9e0e6; --negative-line: #a3224b;
  --series-1: #0b57b0; --series-2: #b04a00; --series-3: #146c37; --series-4: #7b2d8e;`;

/** On paper: the same, without shades. */
const ON_PAPER = `${LIGHT}
    --panel: #ffffff; --ink: #000000; --faint: #444444; --line: #bbbbbb; --link: #000000;`;

/** The look of the page: light and dark as the reader's system has it, and printable. */
export const STYLE = `
:root {
  color-scheme: light dark;
  ${LIGHT}
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --panel: #1d2126; --ink: #e6e8eb; --faint: #a0a9b4; --line: #3a414a; --link: #8ab8f5;
    --good: #7fd1a0; --bad: #ff9b93; --warning: #f0c674;
    --projection: #223449; --heart: #453a1d; --negative: #47222e; --negative-line: #f29bb4;
    --series-1: #8ab8f5; --series-2: #ffb077; --series-3: #7fd1a0; --series-4: #dba4ea;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1280px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 24px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 0 0 8px; }
p { max-width: 80ch; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 12px; top: 12px; background: var(--ground); padding: 8px 12px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; margin: 14px 0 0; }
code { font: 0.92em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.hash { font-size: 0.8em; }
.faint { color: var(--faint); font-weight: normal; }
.verdict.good { color: var(--good); }
.verdict.bad { color: var(--bad); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(170px, 1fr)); gap: 12px; margin: 0 0 12px; }
.facts div { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
dt { color: var(--faint); font-size: 13px; }
dd { margin: 0; font-size: 19px; }
.notice { border-left: 4px solid; padding: 8px 14px; margin: 0 0 16px; background: var(--panel); }
.notice p { margin: 4px 0; }
ul.notice { padding-left: 30px; }
.notice.bad { border-color: var(--bad); }
.notice.warning { border-color: var(--warning); }
.scroll { overflow: auto; max-height: 560px; margin: 0 0 20px; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; }
td code { overflow-wrap: normal; white-space: nowrap; }
td { min-width: 4em; }
caption { text-align: left; font-weight: 600; padding: 8px 12px; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px; border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; font-size: 13px; background: var(--panel); position: sticky; top: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
details { margin: 0 0 12px; }
summary { cursor: pointer; padding: 4px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; margin: 0 0 8px; }
.swatch { display: inline-block; width: 26px; height: 14px; border: 1px solid var(--ink); border-radius: 4px; vertical-align: -2px; }
.swatch-projection { background: var(--projection); }
.swatch-heart { background: var(--heart); }
.swatch-negative { background: var(--negative); border: 2px solid var(--negative-line); }
.series-1 { color: var(--series-1); } .series-2 { color: var(--series-2); }
.series-3 { color: var(--series-3); } .series-4 { color: var(--series-4); }
figure { margin: 0 0 28px; }
figcaption { margin-bottom: 8px; }
figcaption details { display: inline-block; vertical-align: top; margin: 0 0 0 10px; }
figcaption summary { padding: 0; }
.sides { display: grid; gap: 20px; }
@media (min-width: 900px) { .sides:has(.side + .side) { grid-template-columns: 2fr 3fr; } }
.side { min-width: 0; }
.drawing { border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow: auto; max-height: 90vh; margin: 0 0 16px; }
.drawing svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
.switch { display: inline-block; margin: 0 0 12px; }
.switch:has(.full-size:checked) ~ figure .drawing svg { max-width: none; width: auto; }
.drawing svg text { fill: var(--ink); }
.drawing .node text { font-family: Arial, Helvetica, 'Liberation Sans', sans-serif; font-size: 10px; }
.drawing .edge path { stroke: var(--faint); }
.drawing .edge polygon { stroke: var(--faint); fill: var(--faint); }
.drawing .node path, .drawing .node polygon { stroke: var(--faint); fill: var(--ground); }
.drawing .box-projection path { fill: var(--projection); }
.drawing .box-softmax path, .drawing .box-attention path, .drawing .box-differential path { fill: var(--heart); }
.drawing .box-differential path { stroke: var(--ink); stroke-width: 2; }
.drawing .negative path { stroke: var(--negative-line); stroke-width: 1.6; }
.drawing .node.negative path { fill: var(--negative); }
.drawing .edge.negative path { fill: none; }
.drawing .edge.negative polygon { stroke: var(--negative-line); fill: var(--negative-line); }
.drawing .box-input polygon, .drawing .box-output polygon { stroke: none; }
main { padding-bottom: 40px; }
@media print {
  :root {
    color-scheme: light;
    ${ON_PAPER}
  }
  body { font-size: 10pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav, .skip, .switch { display: none; }
  .scroll, .drawing { max-height: none; overflow: visible; border: none; padding: 0; }
  .drawing svg { min-width: 0 !important; max-width: 100%; max-height: 23cm; }
  .sides:has(.side + .side) { grid-template-columns: 2fr 3fr; }
  th { position: static; }
  td, th { padding: 2px 6px; overflow-wrap: break-word; font-size: 8.5pt; }
  td { min-width: 0; }
  td.number, td code { white-space: normal; overflow-wrap: anywhere; }
  h2, h3, figcaption, caption { break-after: avoid; }
  tr, .drawing, .facts div { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
`;
