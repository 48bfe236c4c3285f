/**
 * Images and answers outlive a reload, in this browser and for as long as their tab is open.
 *
 * A tab holds a lock of its own name; what belongs to a tab without one is deleted by the next page that opens. Without
 * locks (no HTTPS and not this machine) nothing is kept.
 */

const DATABASE = "seg";
const STORE = "cases";
const TAB = "seg-tab";

export class Store {
  #database = null;
  #tab = null;

  #last = Date.now(); // whole numbers: parts of a millisecond are finer than a time can be told in 64 bits

  /** Cases of this tab, in their order, as `keep` was given them. */
  async open() {
    try {
      if (!navigator.locks || !globalThis.indexedDB) return [];
      this.#tab = await ownTab();
      this.#database = await opened();
      const all = await settled(this.#store("readonly").getAll());
      const { held } = await navigator.locks.query();
      const open = new Set(held.map(({ name }) => name));
      const dead = all.filter(({ tab }) => !open.has(lockOf(tab)));
      dead.forEach(({ id }) => this.#store("readwrite").delete(id));
      return all.filter(({ tab }) => tab === this.#tab).sort((a, b) => a.order - b.order);
    } catch {
      this.#database = null; // a private window may have none, or cookies are blocked
      return [];
    }
  }

  /** Cases in the place of another. */
  place(items, instead) {
    items.forEach((item, at) => {
      item.order = this.#orderOf(instead) + (at + 1) / (items.length + 1);
    });
  }

  #orderOf(item) {
    item.order ??= this.#last += 1;
    return item.order;
  }

  /** A case as it is now; a full disk costs no mask. */
  keep(item) {
    const { id, name, files, model, state, picture, pictureSize, answer, kind, split, frame } = item;
    const order = this.#orderOf(item);
    const what = { id, tab: this.#tab, order, name, files, model: model.name, version: model.version, state, picture, pictureSize, answer, kind, split, frame };
    return this.#try(() => settled(this.#store("readwrite").put(what)));
  }

  /** All at once, so that a reload finds all of them or none. */
  forget(items) {
    return this.#try(() => {
      const cases = this.#store("readwrite");
      const requests = items.map(({ id }) => settled(cases.delete(id)));
      cases.transaction.commit?.(); // not when the requests are heard of: the page may be left before
      return Promise.all(requests);
    });
  }

  async #try(act) {
    if (!this.#database) return;
    await act().catch(() => {});
  }

  #store(mode) {
    return this.#database.transaction(STORE, mode).objectStore(STORE);
  }
}

const lockOf = (tab) => `${TAB}-${tab}`;

/** The name of this tab, under a lock for as long as it lives; a tab that was copied gets one of its own. */
async function ownTab() {
  const before = sessionStorage.getItem(TAB);
  if (before && (await isTaken(before))) return before;
  const name = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  sessionStorage.setItem(TAB, name);
  await isTaken(name);
  return name;
}

/** Whether the lock of a name is ours now; the page that was here before may still be letting it go. */
function isTaken(name) {
  return new Promise((resolve) => {
    const patience = AbortSignal.timeout(500);
    navigator.locks
      .request(lockOf(name), { signal: patience }, () => {
        resolve(true);
        return new Promise(() => {}); // held until the tab is gone
      })
      .catch(() => resolve(false));
  });
}

function opened() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
