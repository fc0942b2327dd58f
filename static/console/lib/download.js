/**
 * Save the text as a file in the browser's download folder.
 * @param {string} name
 * @param {string} mime
 * @param {string} text
 */
export function download(name, mime, text) {
  const url = URL.createObjectURL(new Blob([text], { type: mime }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1_000); // after the browser started to read it
}
