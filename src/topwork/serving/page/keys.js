/* The key that a person gives: kept for this tab alone, sent to this server alone. */
let heldKey = "";
try { heldKey = sessionStorage.getItem("topwork-key") ?? ""; } catch { /* where nothing may be kept, this page keeps it */ }
function holdKey(text) {
  heldKey = text.replace(/[^\x21-\x7e]/g, "");
  try { sessionStorage.setItem("topwork-key", heldKey); } catch { /* as above */ }
}
const keyed = (headers = {}) => heldKey ? {...headers, "x-api-key": heldKey} : headers;
