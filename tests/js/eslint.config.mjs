/**
 * Checks that static/ uses nothing that the browsers of package.json lack. Run it with "npm run lint".
 *
 * newer-interfaces.mjs is the other half: it knows types, so it finds methods such as `element.checkVisibility()`, and
 * static ones such as `AbortSignal.timeout()`, which eslint-plugin-compat 7.0 misses.
 *
 * CSS is compared with the features that all browsers had at the end of 2021, because its rule knows no versions; what
 * came in the first months of 2022 is allowed one by one. Anything newer needs `@supports` and a replacement.
 */

import { readFileSync } from 'node:fs';
import css from '@eslint/css';
import compat from 'eslint-plugin-compat';

const { browserslist } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

export default [
  {
    files: ['static/**/*.js'],
    languageOptions: { ecmaVersion: 2022 },
    plugins: { compat },
    settings: {
      browsers: browserslist,
      lintAllEsApis: true,
      polyfills: ['Notification', 'navigator.setAppBadge'], // the console works without them, as on an iPhone
    },
    rules: {
      'compat/compat': 'error',
      'no-restricted-syntax': ['error',
        { selector: 'StaticBlock', message: 'Safari has static blocks since 16.4.' },
        { selector: 'Literal[regex.pattern=/\\(\\?<[=!]/]', message: 'Safari has lookbehind since 16.4.' },
      ],
    },
  },
  {
    files: ['static/**/*.css'],
    language: 'css/css',
    plugins: { css },
    rules: {
      'no-restricted-syntax': ['error', { selector: 'FeatureRange', message: 'Safari has ranges since 16.4.' }],
      'css/use-baseline': ['error', {
        available: 2021,
        allowSelectors: ['focus-visible'], // Safari 15.4
        allowProperties: [
          'color-scheme', // Firefox 96
          'outline', // Safari draws it without rounded corners before 16.4
          'resize', 'overflow-anchor', // only for comfort
        ],
        allowPropertyValues: {
          'overflow-wrap': ['anywhere'], // Safari 15.4
          'font-family': ['ui-monospace'], // Safari only; other fonts follow
        },
      }],
    },
  },
];
