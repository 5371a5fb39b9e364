/**
 * A Chromium for the tests of what a person sees: the one that DIFFX_CHROMIUM names, else one that is installed.
 * test/browser/run.sh installs Debian's where it can. Tests without one are skipped, and say why.
 */
import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const CHROMIUM: string | undefined =
  process.env['DIFFX_CHROMIUM'] || PLACES.find((place) => existsSync(place));

/** Tests that need it; the title says why they are skipped. */
export function describeInChromium(title: string, tests: () => void): void {
  if (CHROMIUM === undefined)
    describe.skip(`${title} (skipped: no Chromium; see test/browser/run.sh)`, tests);
  else describe(`${title} in Chromium`, tests);
}

/** Nothing that asks the network or needs a sandbox that containers lack. */
const FLAGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update'],
];

export function startChromium(): Promise<Browser> {
  return chromium.launch({ ...(CHROMIUM === undefined ? {} : { executablePath: CHROMIUM }), args: FLAGS });
}

/** What a page asked for and complained about while a test looked at it. */
export interface Heard {
  readonly requests: string[];
  readonly messages: string[];
}

export function listen(page: Page): Heard {
  const heard: Heard = { requests: [], messages: [] };
  page.on('request', (request) => heard.requests.push(request.url()));
  page.on('console', (message) => heard.messages.push(message.text()));
  page.on('pageerror', (error) => heard.messages.push(error.message));
  return heard;
}
