/** The fields of the form that need an inbox: how long, how important, in place of what, and whether it must be stored. */

import { make } from '../lib/dom.js';
import { t } from '../lib/i18n.js';

const PRIORITIES = ['1', '2', '3', '4', '5'];
const DEFAULT_PRIORITY = '3';

/** The names of its fields, as Hermes names them in an error. */
export const STORE_FIELDS = ['ttl_s', 'priority', 'replaces', 'require'];

export class StoreFields {
  /** Ids to choose from. */
  #ids = make('datalist', { id: 'notify-ids' });
  #ttl = make('input', { name: 'ttl_s', inputmode: 'numeric', autocomplete: 'off', placeholder: t('notify.ttl_default') });
  #priority = make('select', { name: 'priority' }, ...PRIORITIES.map((value) => make('option', { value, ...(value === DEFAULT_PRIORITY ? { selected: '' } : {}) }, value)));
  #replaces = make('input', { name: 'replaces', autocomplete: 'off', spellcheck: 'false', list: 'notify-ids' });
  #require = make('input', { name: 'require', type: 'checkbox' });

  /** @param {Element} next  in the form, the element that they stand before */
  constructor(next) {
    next.before(
      make('div', { class: 'pair' }, make('label', {}, t('notify.ttl'), ' ', this.#ttl), make('label', {}, t('notify.priority'), ' ', this.#priority)),
      make('label', {}, t('notify.replaces'), ' ', this.#replaces), this.#ids,
      make('label', { class: 'check' }, this.#require, ` ${t('notify.require')}`),
    );
  }

  /** The keys of the request that differ from their defaults; a text that is not a number is for Hermes to refuse. */
  get values() {
    const ttl = this.#ttl.value.trim();
    return {
      ...(ttl ? { ttl_s: /^\d{1,15}$/.test(ttl) ? Number(ttl) : ttl } : {}),
      ...(this.#priority.value === DEFAULT_PRIORITY ? {} : { priority: Number(this.#priority.value) }),
      ...(this.#replaces.value ? { replaces: this.#replaces.value } : {}),
      ...(this.#require.checked ? { require: 'stored' } : {}),
    };
  }

  /** Offer these ids for *replaces*. @param {string[]} ids */
  suggest(ids) {
    const shown = [...this.#ids.options].map(({ value }) => value);
    if (ids.join() !== shown.join()) this.#ids.replaceChildren(...ids.map((value) => make('option', { value })));
  }
}
