/** The page of `--report` as a person meets it: light, dark, on paper, by keyboard, on a small screen. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AxeResults, RunOptions } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { diffx, workFolder } from '../cli/run-cli';
import { describeInChromium, type Heard, listen, startChromium } from './chromium';

/** Where to leave screenshots for a person to look at; none without it. */
const SCREENSHOTS = process.env['DIFFX_SCREENSHOTS'];
const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 375, height: 700 };

describeInChromium('a report', () => {
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    const folder = workFolder();
    const run = diffx(
      ['rewrite', 'model.onnx', '-q', '--init', 'preserve', '--verify', '--report', 'report.html'],
      folder,
    );
    expect(run.code).toBe(0);
    url = pathToFileURL(path.join(folder, 'report.html')).href;
    browser = await startChromium();
  });
  afterAll(() => browser.close());

  async function open(colorScheme: 'light' | 'dark', viewport = WIDE): Promise<{ page: Page; heard: Heard }> {
    const page = await browser.newPage({ colorScheme, viewport });
    const heard = listen(page);
    await page.goto(url);
    return { page, heard };
  }

  const looks = [
    { colorScheme: 'light', viewport: WIDE },
    { colorScheme: 'dark', viewport: NARROW },
  ] as const;

  test.each(looks)(
    '$colorScheme, $viewport.width pixels wide: asks for nothing, fits, and is accessible (WCAG 2 AA)',
    async ({ colorScheme, viewport }) => {
      const { page, heard } = await open(colorScheme, viewport);
      const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect(overflow).toBeLessThanOrEqual(0);
      for (const summary of await page.locator('summary').all()) await summary.click();
      const found = await violations(page);
      expect(found).toEqual([]);
      expect(heard).toEqual({ requests: [url], messages: [] });
      if (SCREENSHOTS !== undefined) {
        const name = `report-${colorScheme}-${viewport.width}.png`;
        await page.screenshot({ path: path.join(SCREENSHOTS, name), fullPage: true });
      }
      await page.close();
    },
  );

  test('what is unreadable would be found', async () => {
    const { page } = await open('light');
    await page.evaluate("document.documentElement.style.setProperty('--faint', '#dddddd')");
    expect(await violations(page)).toContain('color-contrast');
    await page.close();
  });

  test('by keyboard: over the navigation to the content, into tables and pictures, and open what is closed', async () => {
    const { page } = await open('light');
    const focused = () => page.evaluate('document.activeElement.textContent.trim()');
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Skip to the content');
    expect(await page.locator('.skip').boundingBox()).toMatchObject({ x: 12 });
    await page.keyboard.press('Tab');
    expect(await focused()).toBe('Summary');
    await page.locator('.skip').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    // The first thing in the content that scrolls.
    expect(await page.evaluate("document.activeElement.getAttribute('aria-label')")).toBe('7 checks');

    const picture = page.locator('.drawing').nth(1);
    await picture.focus();
    await page.keyboard.press('ArrowDown');
    await soon(() =>
      page.evaluate('document.activeElement.scrollTop > 0 || document.activeElement.scrollLeft > 0'),
    );

    const details = page.locator('#lambda details');
    expect(await details.getAttribute('open')).toBeNull();
    await details.locator('summary').focus();
    await page.keyboard.press('Enter');
    expect(await details.getAttribute('open')).not.toBeNull();

    const width = async () => (await picture.locator('svg').boundingBox())?.width ?? 0;
    const fitted = await width();
    await page.locator('.full-size').focus();
    await page.keyboard.press('Space');
    expect(await width()).toBeGreaterThan(fitted);
    await page.close();
  });

  test('on paper: light whatever the screen is, without navigation, with everything open', async () => {
    const { page } = await open('dark');
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    expect(await page.locator('nav').isVisible()).toBe(false);
    for (const table of await page.locator('details table').all()) expect(await table.isVisible()).toBe(true);
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    if (SCREENSHOTS !== undefined) fs.writeFileSync(path.join(SCREENSHOTS, 'report.pdf'), pdf);
    await page.close();
  });
});

/** Scrolling takes its time. */
async function soon(isSo: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; tries < 100 && !(await isSo()); tries++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await isSo()).toBe(true);
}

/** Rules of WCAG 2, levels A and AA, and of good practice, that a page breaks. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const options: RunOptions = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] };
  const run = `axe.run(document, ${JSON.stringify(options)})`;
  const results = (await page.evaluate(run)) as AxeResults;
  return results.violations.map(({ id }) => id);
}
