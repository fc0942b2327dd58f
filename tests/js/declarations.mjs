/**
 * Write static/hermes-client.d.ts, or the file named on the command line.
 *
 * It contains the declarations that TypeScript 5 derives from the JSDoc of hermes-client.js and hermes-client-types.js, in
 * one file; TypeScript 7 copies more comments.
 * "npm run types" checks the code.
 */

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const STATIC = new URL('../../static/', import.meta.url).pathname;
const target = process.argv[2] ?? join(STATIC, 'hermes-client.d.ts');
const folder = mkdtempSync(join(tmpdir(), 'hermes-declarations-'));
try {
  // Beside the old declarations, tsc would read them instead of the code.
  for (const name of ['hermes-client.js', 'hermes-client-types.js']) copyFileSync(join(STATIC, name), join(folder, name));
  execFileSync('node_modules/typescript-5/bin/tsc', [
    '--allowJs', '--checkJs', '--strict', '--noCheck', '--declaration', '--emitDeclarationOnly', '--target', 'ES2022',
    '--module', 'ES2022', '--moduleResolution', 'bundler', '--lib', 'ES2022,DOM,DOM.Iterable', '--outDir', folder,
    join(folder, 'hermes-client.js'),
  ], { stdio: 'inherit' });
  const read = (name) => readFileSync(join(folder, name), 'utf8');
  const client = read('hermes-client.d.ts').replace(/^import .*hermes-client-types\.js.*\n/gm, '');
  const types = read('hermes-client-types.d.ts').replaceAll(/import\("\.\/hermes-client\.js"\)\./g, '');
  writeFileSync(target, `// Made from the JSDoc of hermes-client.js by "npm run declarations" in tests/js.\n${client}\n${types}`);
} finally {
  rmSync(folder, { recursive: true });
}
