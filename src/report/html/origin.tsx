import { bytes, count, duration } from '../text';
import type { ReportContent } from './content';
import { Name, Section, Table } from './parts';
import { RunTimes } from './verification';

/** What the time went to. */
export function Times({ content: { phases, verification } }: { content: ReportContent }) {
  const timings = verification?.timings ?? [];
  return (
    <Section id="timings" title="Timings">
      <Table
        caption="The command"
        columns={[
          { title: 'what', cell: ({ what }) => what },
          { title: 'time', number: true, cell: ({ milliseconds }) => duration(milliseconds) },
        ]}
        rows={phases}
      />
      {timings.length > 0 && <RunTimes timings={timings} />}
    </Section>
  );
}

/** Files with their hashes, all options, and the machine. */
export function Origin({ content }: { content: ReportContent }) {
  const { files, made, rewrite, differential } = content;
  const options = rewrite?.options ?? differential?.options;
  const rows = Object.entries(options ?? {}).filter(([, value]) => value !== undefined);
  return (
    <Section id="origin" title="Files and options">
      <Table
        caption="Files"
        columns={[
          { title: 'what', cell: ({ role }) => role },
          { title: 'path', cell: ({ path }) => <Name of={path} /> },
          { title: 'size', number: true, cell: (file) => bytes(file.bytes) },
          { title: 'SHA-256', cell: ({ sha256 }) => <code class="hash">{sha256}</code> },
        ]}
        rows={files}
      />
      {differential && (
        <p>
          The rewritten model says that it was made by diffx {differential.version} from the file with SHA-256{' '}
          <code class="hash">{differential.sourceSha256}</code>.
        </p>
      )}
      {rows.length > 0 && (
        <Table
          caption="Options"
          columns={[
            { title: 'option', cell: ([name]) => <Name of={name} /> },
            { title: 'value', cell: ([, value]) => String(value) },
          ]}
          rows={rows}
        />
      )}
      <p class="faint">
        Made by diffx {made.diffx}, {made.onnxRuntime !== undefined && `ONNX Runtime ${made.onnxRuntime}, `}
        Node {made.node} on {made.platform}, {count(made.cores)} cores, at{' '}
        <time dateTime={made.at}>{made.at.replace('T', ' ').replace(/\.\d+Z$/, ' UTC')}</time>.
      </p>
    </Section>
  );
}
