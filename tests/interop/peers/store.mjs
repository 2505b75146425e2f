// The store callbacks of whatsapp-rust over one SQLite file: a state that survives the end of the process.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export function openStore(folder) {
  mkdirSync(folder, { recursive: true });
  const db = new DatabaseSync(join(folder, 'whatsapp-rust.db'));
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS record (store TEXT, key TEXT, value BLOB, PRIMARY KEY (store, key)) WITHOUT ROWID`);
  const one = db.prepare('SELECT value FROM record WHERE store = ? AND key = ?');
  const put = db.prepare('INSERT OR REPLACE INTO record (store, key, value) VALUES (?, ?, ?)');
  const drop = db.prepare('DELETE FROM record WHERE store = ? AND key = ?');
  // A prefix is compared as bytes, so that no character in it is a pattern.
  const some = db.prepare('SELECT key, value FROM record WHERE store = ? AND substr(key, 1, length(?)) = ?');
  const dropSome = db.prepare('DELETE FROM record WHERE store = ? AND substr(key, 1, length(?)) = ?');

  const get = (store, key) => one.get(store, key)?.value ?? null;
  const together = (work) => {
    db.exec('BEGIN');
    try {
      work();
      db.exec('COMMIT');
    } catch (error) {
      db.exec('ROLLBACK');
      throw error;
    }
  };
  const entries = (store, prefix = '') => some.all(store, prefix, prefix).map(({ key, value }) => [key, value]);

  return {
    get: async (store, key) => get(store, key),
    set: async (store, key, value) => void put.run(store, key, value),
    delete: async (store, key) => void drop.run(store, key),
    setMany: async (store, pairs) => together(() => pairs.forEach(([key, value]) => put.run(store, key, value))),
    getMany: async (store, keys) => keys.map((key) => [key, get(store, key)]).filter(([, value]) => value !== null),
    deleteMany: async (store, keys) => together(() => keys.forEach((key) => drop.run(store, key))),
    listKeys: async (store, prefix) => entries(store, prefix).map(([key]) => key),
    listEntries: async (store, prefix) => entries(store, prefix),
    deletePrefix: async (store, prefix) => Number(dropSome.run(store, prefix, prefix).changes),
    flush: async () => {},
    capabilities: { batch: true, enumerate: true, prefixDelete: true },
    close: () => db.close(),
  };
}
