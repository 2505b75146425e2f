// A real browser without a window, and a reader of the QR codes that it shows.
import jsQR from 'jsqr';
import { chromium } from 'playwright-core';

/** Debian's Chromium (or $PARLEY_CHROMIUM). Tests may run as root, where its own sandbox cannot. */
export function openBrowser() {
  return chromium.launch({
    executablePath: process.env.PARLEY_CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
}

/** The text of the QR code on the page as a camera would see it, or nothing. */
export async function readQr(browser, page) {
  const picture = await page.screenshot();
  const reader = await browser.newPage();
  try {
    const { width, height, pixels } = await reader.evaluate(async (url) => {
      const image = new Image();
      image.src = url;
      await image.decode();
      const canvas = new OffscreenCanvas(image.width, image.height);
      const context = canvas.getContext('2d');
      context.drawImage(image, 0, 0);
      const { data } = context.getImageData(0, 0, image.width, image.height);
      let binary = '';
      for (let at = 0; at < data.length; at += 8192) binary += String.fromCharCode(...data.subarray(at, at + 8192));
      return { width: image.width, height: image.height, pixels: btoa(binary) };
    }, `data:image/png;base64,${picture.toString('base64')}`);
    const bytes = new Uint8ClampedArray(Buffer.from(pixels, 'base64'));
    return (jsQR.default ?? jsQR)(bytes, width, height)?.data;
  } finally {
    await reader.close();
  }
}
