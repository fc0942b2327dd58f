/**
 * What is known of each node of the site.
 *
 * Behind a proxy each answer of `GET /status` may come from another node, and each node has its own view of the others.
 * So what a node said is kept for a while after the last answer that has it.
 *
 * @typedef {import('./status-poller.js').Figures} Figures
 *
 * @typedef {'other_keys' | 'other_version' | 'other_protocol'} Difference  from most of the nodes
 *
 * @typedef {object} NodeRow
 * @property {string} name
 * @property {string} state  joined, joining, alone, or unknown; silent: it did not answer; left; lost: it is gone and did not say so
 * @property {string} version
 * @property {number | null} protocol
 * @property {number | null} users
 * @property {number | null} sockets
 * @property {number | null} heard  Unix ms; null of a node that answers
 * @property {string[]} missing  without which the node is not ready
 * @property {Difference[]} differences
 * @property {boolean} answers  whether it has answered this page
 * @property {Figures | null} figures
 */

const KEPT_MS = 30_000;
const IS_GONE = ['left', 'lost'];

export class NodeRows {
  /** @type {Map<string, NodeRow & {at: number}>} */
  #rows = new Map();
  /** @type {Map<string, number>} when each node answered this page */
  #answered = new Map();
  /** @type {Set<string>} of nodes that verify tokens with other keys than most */
  #otherKeys = new Set();

  /** The nodes by name; those that are gone last. */
  get rows() { return [...this.#rows.values()].sort((one, other) => Number(isGone(one)) - Number(isGone(other)) || compare(one.name, other.name)); }

  /** @param {string} name */
  get(name) { return this.#rows.get(name); }

  /**
   * Add an answer of `GET /status` of any node.
   * @param {Figures} figures
   * @param {number} at  ms
   */
  add(figures, at) {
    const { cluster } = figures;
    this.#answered.set(cluster.node, at);
    const open = /** @type {number[]} */ (Object.values(figures.sockets.open));
    this.#set(cluster.node, at, {
      state: cluster.state, version: figures.version, protocol: cluster.protocol, users: cluster.users,
      sockets: open.reduce((all, each) => all + each, 0), missing: figures.missing, figures,
    });
    for (const node of cluster.nodes) {
      const { state, version, protocol, users, sockets, heard } = node;
      const isSilent = !node.figures;
      this.#set(node.node, at, {
        state: !isSilent ? state ?? 'unknown' : cluster.state === 'alone' ? 'unknown' : 'silent', version, protocol, users, sockets,
        heard: isSilent ? heard : null, missing: node.figures?.missing ?? [], figures: node.figures,
      });
    }
    for (const { node, version, left, heard } of cluster.former ?? []) this.#set(node, at, { state: left ? 'left' : 'lost', version, heard });
    for (const [name, row] of this.#rows) if (row.at < at - KEPT_MS) this.#rows.delete(name);
    for (const [name, last] of this.#answered) if (last < at - KEPT_MS) this.#answered.delete(name);
    this.#otherKeys = fewer([cluster.node, ...namesOf(cluster.nodes, true)], namesOf(cluster.nodes, false));
    this.#compare();
  }

  /**
   * @param {string} name
   * @param {number} at
   * @param {Partial<NodeRow>} known
   */
  #set(name, at, known) {
    this.#rows.set(name, {
      name, at, state: 'unknown', version: '', protocol: null, users: null, sockets: null, heard: null, missing: [], differences: [], answers: false,
      figures: null, ...known,
    });
  }

  /** Note what differs, and which nodes answer this page. */
  #compare() {
    const living = this.rows.filter((row) => !isGone(row));
    const versions = minority(living, ({ version }) => version);
    const protocols = minority(living, ({ protocol }) => protocol);
    for (const row of living) {
      row.answers = row.state !== 'silent' && this.#answered.has(row.name);
      row.differences = [];
      if (this.#otherKeys.has(row.name)) row.differences.push('other_keys');
      if (versions.has(row.name)) row.differences.push('other_version');
      if (protocols.has(row.name)) row.differences.push('other_protocol');
    }
  }
}

/** Whether a node is no member any more. @param {NodeRow} row */
export function isGone({ state }) { return IS_GONE.includes(state); }

/** Whether an operator should look at a node. @param {NodeRow} row */
export function hasProblem({ state, missing, differences }) {
  return state !== 'left' && (state !== 'joined' || missing.length > 0 || differences.length > 0);
}

/**
 * The names of the nodes with another value than most nodes.
 * @param {NodeRow[]} rows  by name
 * @param {(row: NodeRow) => unknown} value
 * @returns {Set<string>}
 */
function minority(rows, value) {
  /** @type {Map<unknown, string[]>} */
  const groups = new Map();
  for (const row of rows) groups.set(value(row), [...groups.get(value(row)) ?? [], row.name]);
  const [, ...smaller] = [...groups.values()].sort((one, other) => other.length - one.length); // of equal ones, that of the first name is first
  return new Set(smaller.flat());
}

/**
 * The smaller group; of equal ones, that without the first name.
 * @param {string[]} one
 * @param {string[]} other
 */
function fewer(one, other) {
  if (one.length !== other.length) return new Set(one.length < other.length ? one : other);
  return new Set([...one].sort(compare)[0] < [...other].sort(compare)[0] ? other : one);
}

/**
 * @param {{node: string, same_keys: boolean}[]} nodes
 * @param {boolean} same
 */
function namesOf(nodes, same) { return nodes.filter((each) => each.same_keys === same).map(({ node }) => node); }

/**
 * @param {string} one
 * @param {string} other
 */
function compare(one, other) { return one.localeCompare(other, 'en', { numeric: true }); }
