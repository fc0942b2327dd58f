/** The name of a device as its owner knows it. It is text of strangers: it may change, and two devices may share one. */

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */

const NAME_MAX_CHARS = 256; // the server sends no more
/** Controls, line breaks, and the characters that could reverse the text around the name. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

export class DeviceName {
  text = '';
  /** @type {number | null} the time of the frame it came with */
  #timestamp = null;

  /**
   * Take the name of a frame; false if nothing changes.
   *
   * A frame without a name changes nothing: topics of one device may differ. Neither does a snapshot that is older.
   * @param {DeviceFrame} frame
   */
  update({ device_name: name, snapshot, timestamp }) {
    if (typeof name !== 'string') return false;
    if (snapshot && this.text && !(timestamp !== null && timestamp > (this.#timestamp ?? 0))) return false;
    this.#timestamp = timestamp;
    const text = cleaned(name);
    if (text === this.text) return false;
    this.text = text;
    return true;
  }
}

/** The name as it is shown: bounded, without characters that change the text around it. @param {string} name */
function cleaned(name) { return [...name.slice(0, 2 * NAME_MAX_CHARS)].slice(0, NAME_MAX_CHARS).join('').replace(UNSAFE, '\ufffd').trim(); }
