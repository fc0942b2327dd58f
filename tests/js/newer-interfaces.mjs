/**
 * Find what at least one of the browsers of package.json lacks, by MDN's data.
 *
 * "node newer-interfaces.mjs" prints all of it as JSON, [path of the owner, name of the member] each; an owner without a
 * path is the global object, and "name_static" is a member of the constructor. With the path of a tsconfig.json it prints where the program of that file uses any of it.
 * Events, options and behaviour are left out, because no test can remove them from a newer browser.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, relative, resolve } from 'node:path';
import ts from 'typescript-5'; // 7 has no stable interface for programs

const data = createRequire(import.meta.url)('@mdn/browser-compat-data');
const { browserslist } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
const MDN_NAMES = { ios_saf: 'safari_ios' };
const oldest = browserslist.map((query) => {
  const [name, version] = query.split(' >= ');
  return { name: MDN_NAMES[name] ?? name, version: numbers(version) };
});

function numbers(version) { return version.replace('≤', '').split('.').map(Number); }

function atMost([major, minor = 0], [maxMajor, maxMinor = 0]) { return major < maxMajor || (major === maxMajor && minor <= maxMinor); }

/** Whether each of the oldest browsers has it, without a flag, a prefix or another name. */
function isOld({ support }) {
  return oldest.every(({ name, version }) => [support[name] ?? []].flat().some((each) => (
    /^≤?[\d.]+$/.test(each.version_added) && atMost(numbers(each.version_added), version)
      && !(each.version_removed && atMost(numbers(each.version_removed), version)) && !each.flags && !each.prefix && !each.alternative_name
  )));
}

/** @type {Map<string, Map<string, boolean>>} owner → member → whether it is newer */
const members = new Map();

function visit(owner, key, feature) {
  if (/_event$|_permission$|@@/.test(key)) return;
  const isNewer = Boolean(feature.__compat) && !isOld(feature.__compat);
  if (!members.has(owner)) members.set(owner, new Map());
  members.get(owner).set(key, isNewer);
  const path = owner ? `${owner}.${key}` : key;
  if (!isNewer) for (const [inner, content] of Object.entries(feature)) if (inner !== '__compat' && inner !== key) visit(path, inner, content);
}

for (const part of [data.api, data.javascript.builtins]) {
  for (const [key, feature] of Object.entries(part)) if (key !== '__meta') visit('', key, feature);
}

// some browsers lack them, and the console works without them
const GUARDED = [['', 'Notification'], ['Notification', 'permission'], ['Notification', 'requestPermission'], ['ServiceWorkerRegistration', 'showNotification'],
  ['ServiceWorkerRegistration', 'getNotifications'], ['NavigatorBadge', 'setAppBadge']];
const GLOBALS = ['', 'Window', 'WindowOrWorkerGlobalScope']; // names of the global object

function all() {
  return [...members].flatMap(([owner, names]) => [...names].filter(([, isNewer]) => isNewer).map(([name]) => [owner, name]));
}

// -- what a program uses ----------------------------------------------------------------------------------------------

/** Whether TypeScript's own libraries declare this name as something newer. */
function isNewerSymbol(symbol, name, program) {
  const declared = (symbol.declarations ?? []).filter((each) => program.isSourceFileDefaultLibrary(each.getSourceFile()));
  return declared.some(({ parent }) => {
    if (ts.isInterfaceDeclaration(parent)) return isNewer(parent.name.text.replace(/Constructor$/, ''), name);
    const variable = ts.isTypeLiteralNode(parent) ? parent.parent : null;
    if (!variable || !ts.isVariableDeclaration(variable)) return isNewer('', name);
    const owner = variable.name.getText();
    return isNewer(owner, members.get(owner)?.has(`${name}_static`) ? `${name}_static` : name);
  });
}

/** A mixin of TypeScript has no entry of its own: then all owners of a member of this name count. */
function isNewer(owner, name) {
  if (GUARDED.some(([each, guarded]) => each === owner && name.replace(/_static$/, '') === guarded)) return false;
  const known = [owner, ...(GLOBALS.includes(owner) ? GLOBALS : [])].map((each) => members.get(each)?.get(name)).find((each) => each !== undefined);
  if (known !== undefined || members.has(owner)) return known ?? false;
  const elsewhere = [...members.values()].map((names) => names.get(name)).filter((each) => each !== undefined);
  return elsewhere.length > 0 && elsewhere.every(Boolean);
}

function usesIn(configPath) {
  const config = ts.parseJsonConfigFileContent(ts.readConfigFile(configPath, ts.sys.readFile).config, ts.sys, dirname(configPath));
  const program = ts.createProgram(config.fileNames, config.options);
  const checker = program.getTypeChecker();
  const found = [];
  const look = (node, file) => {
    const symbol = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined;
    if (symbol && isNewerSymbol(symbol, node.text, program)) {
      const { line } = file.getLineAndCharacterOfPosition(node.getStart());
      found.push(`${relative(process.cwd(), file.fileName)}:${line + 1}: ${node.parent.getText().slice(0, 60)}`);
    }
    ts.forEachChild(node, (child) => look(child, file));
  };
  const own = program.getSourceFiles().filter(({ fileName }) => config.fileNames.includes(fileName));
  if (own.length !== config.fileNames.length || !own.length) throw new Error(`${own.length} of ${config.fileNames.length} files found`);
  for (const file of own) look(file, file);
  return found;
}

const [configPath] = process.argv.slice(2).map((path) => resolve(path));
if (configPath) {
  const found = usesIn(configPath);
  for (const line of found) console.log(line);
  process.exitCode = found.length ? 1 : 0;
} else console.log(JSON.stringify(all()));
