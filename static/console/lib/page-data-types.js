/**
 * Types of the JSON data that the server embeds in the page. The page does not load this file.
 *
 * @typedef {object} DevToken  signed by `hermes serve --dev`
 * @property {string} label
 * @property {string} token
 * @property {string} user_id
 * @property {string | null} tenant_id
 *
 * @typedef {object} DevData
 * @property {DevToken[]} tokens
 * @property {string} api_key
 * @property {string[]} devices
 *
 * @typedef {object} TokenRules  settings of the server that its tokens must match
 * @property {string[]} algorithms  with which its present keys verify tokens
 * @property {boolean} fetches_keys  whether it fetches keys of an identity provider
 * @property {string} claim_user  name, or path with dots, of the claim with the user id
 * @property {string} claim_name  the same for the user's name
 * @property {boolean} name_required
 * @property {string} claim_tenant  the same for the tenant id
 * @property {string} claim_superuser  the same for what makes a superuser
 * @property {string | null} superuser_value  that text, or a list with it; null: JSON `true`
 * @property {boolean} checks_issuer  whether `iss` must have a certain value
 * @property {boolean} checks_audience  the same for `aud`, or `azp` without it
 * @property {number} leeway_s  seconds by which the clocks may differ
 * @property {number | null} max_age_s  seconds after `iat` until a token ends
 * @property {boolean} require_exp
 *
 * @typedef {object} LoginData  of the identity provider; the end points are null while it has not answered
 * @property {string} issuer
 * @property {string} client_id
 * @property {string} scope
 * @property {string | null} audience
 * @property {string | null} authorization_endpoint
 * @property {string | null} token_endpoint
 * @property {string | null} end_session_endpoint
 *
 * @typedef {object} PageData
 * @property {string} version
 * @property {string} language  of the page: `en`, `es`
 * @property {Record<string, string>} strings
 * @property {boolean} inbox  whether notifications are stored
 * @property {TokenRules} token_rules
 * @property {LoginData | null} login  null without `--oidc-client-id`
 * @property {DevData | null} dev  null in production, and for pages that may not have it
 */

export {};
