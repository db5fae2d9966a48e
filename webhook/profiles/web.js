// Serve the files that the patterns in LOG_FILES mean, and at / a page that lists them: for nginx's njs module.
import fs from 'fs';

// How many characters a page has, since a slow client holds it in memory, and how many of paths are seen for it, since
// njs frees nothing before it has answered.
const MOST_ON_PAGE = 128 * 1024;
const MOST_SEEN = 320 * 1024;
const TYPES = {
  html: 'text/html', htm: 'text/html', css: 'text/css', json: 'application/json', gz: 'application/gzip',
  zst: 'application/zstd', xz: 'application/x-xz', bz2: 'application/x-bzip2', zip: 'application/zip'
};
// By how much a character beyond U+FFFF is longer than others.
const WIDE = '\u{10000}'.length - 1;
const patterns = JSON.parse(process.env.LOG_FILES).map(parsed);
const volumes = JSON.parse(process.env.LOG_MOUNTS).map(mount => fs.realpathSync(mount));
// An address is a file's path below the directory that all patterns share.
const root = patterns.length ? patterns.map(pattern => pattern.directory).reduce(commonDirectory) : '/';

function serve(r) {
  // r.uri would be bytes in older versions of njs
  const uri = r.rawVariables.uri.toString();
  const path = join(root, uri.slice(1));
  const file = found(uri.endsWith('/') ? `${path}index.html` : path);
  if (r.method !== 'GET' && r.method !== 'HEAD') {
    r.return(405);
  } else if (file) {
    const ending = file.path.split('.').pop();
    r.headersOut['Content-Type'] = TYPES.hasOwnProperty(ending) ? TYPES[ending] : 'text/plain';
    r.variables.file = file.path;
    r.variables.volume = file.volume;
    r.internalRedirect('//file');
  } else if (uri === '/') {
    r.headersOut['Content-Type'] = 'text/html; charset=utf-8';
    r.return(200, page());
  } else {
    r.return(404);
  }
}

function found(path) {
  let file = null;
  patterns.some(pattern => {
    file = means(pattern, path) ? located(pattern, path) : null;
    return file;
  });
  return file;
}

// Return the real file, if it is below the pattern's directory and in a volume. What lies in a volume, symlinks among it,
// is up to the application; nginx then opens the real path without following any symlink in the volume.
function located(pattern, path) {
  try {
    const real = fs.realpathSync(path);
    const volume = volumeOf(real);
    const stat = volume && within(real, fs.realpathSync(pattern.directory)) ? fs.statSync(real) : null;
    return stat && stat.isFile() ? {path: real, volume: volume, stat: stat} : null;
  } catch (error) {
    return null;  // it is gone, or a symlink that leads nowhere, or in a directory that the sidecar's user can't search
  }
}

function volumeOf(real) {
  return volumes.find(volume => within(real, volume));
}

function join(directory, name) {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

function within(path, directory) {
  return path === directory || path.startsWith(join(directory, ''));
}

function commonDirectory(one, other) {
  while (!within(other, one)) {
    one = one.slice(0, one.lastIndexOf('/')) || '/';
  }
  return one;
}

// --- patterns: a path, a glob, or DIR/**/NAME each ---

function parsed(text) {
  const directories = text.split('/');
  const name = directories.pop();
  const deep = directories[directories.length - 1] === '**';
  if (deep) {
    directories.pop();
  }
  const isGlob = ['*', '?', '['].some(one => name.includes(one));
  return {text: text, directory: directories.join('/') || '/', deep: deep, name: name, pieces: isGlob ? pieces(name) : null};
}

// As a shell's, a glob means no hidden file unless it begins with a dot itself, and none in a hidden directory.
function means(pattern, path) {
  if (!within(path, pattern.directory)) {
    return false;
  }
  const directories = path.slice(join(pattern.directory, '').length).split('/');
  const name = directories.pop();
  return isNamed(pattern, name) && (!directories.length || (pattern.deep && !directories.some(isHidden)));
}

function isNamed(pattern, name) {
  if (name === pattern.name || !pattern.pieces) {
    return name === pattern.name;
  }
  return (!isHidden(name) || isHidden(pattern.name)) && matches(pattern.pieces, characters(name));
}

function isHidden(name) {
  return name.startsWith('.');
}

// Return what is between the stars of a glob: for each character a function that says whether it fits.
function pieces(glob) {
  const result = [[]];
  const all = characters(glob);
  const is = (at, one) => all[at] === one.codePointAt(0);
  for (let at = 0; at < all.length; at++) {
    const negated = is(at + 1, '!') || is(at + 1, '^');
    const end = is(at, '[') ? all.indexOf(']'.codePointAt(0), at + (negated ? 3 : 2)) : -1;
    if (is(at, '*')) {
      result.push([]);
    } else {
      const one = all[at];
      const any = is(at, '?');
      const accepts = end > 0 ? set(all.slice(at + (negated ? 2 : 1), end), negated) : other => any || other === one;
      result[result.length - 1].push(accepts);
      at = end > 0 ? end : at;
    }
  }
  return result;
}

function set(members, negated) {
  const ranges = [];
  while (members.length) {
    const low = members.shift();
    const isRange = members.length > 1 && members[0] === '-'.codePointAt(0);
    ranges.push([low, isRange ? members.splice(0, 2)[1] : low]);
  }
  return other => ranges.some(range => range[0] <= other && other <= range[1]) !== negated;
}

// The time is at most the product of both lengths: the first and the last piece are where they must be, and each other
// one is where it fits first.
function matches(pieces, name) {
  const last = pieces[pieces.length - 1];
  const end = name.length - last.length;
  let at = pieces[0].length;
  if (!fits(pieces[0], name, 0) || !fits(last, name, end)) {
    return false;
  }
  for (let number = 1; number < pieces.length - 1; number++) {
    while (at < end && !fits(pieces[number], name, at)) {
      at++;
    }
    at += pieces[number].length;
  }
  return pieces.length > 1 ? at <= end : end === 0;
}

function fits(piece, name, begin) {
  let at = 0;
  while (at < piece.length && begin >= 0 && begin + at < name.length && piece[at](name[begin + at])) {
    at++;
  }
  return at === piece.length && begin >= 0;
}

// Return a text's characters as numbers, none of which is half of one.
function characters(text) {
  const result = [];
  for (let at = 0; at < text.length; at++) {
    const one = text.codePointAt(at);
    result.push(one);
    at += one > 0xffff ? WIDE : 0;
  }
  return result;
}

// --- the page ---

function page() {
  const notes = [];
  const rows = [];
  let left = MOST_ON_PAGE;
  const paths = meantPaths(notes);
  paths.forEach(path => {
    const file = left > 0 ? found(path) : null;
    if (file) {
      rows.push(row(path, file.stat));
      left -= rows[rows.length - 1].length;
    }
  });
  if (left <= 0) {
    notes.unshift('There are more files than this page lists. Each is served at its address.');
  }
  const title = escaped(`Files that match ${patterns.map(pattern => pattern.text).join(', ').slice(0, 1000)}`);
  const table = `<table>\n<tr><th>file<th>last written<th>bytes\n${rows.join('')}</table>\n`;
  const lines = notes.slice(0, 10).map(note => `<p>${escaped(note)}\n`).join('');
  return `<!doctype html>\n<title>${title}</title>\n<h1>${title}</h1>\n${rows.length ? table : '<p>None yet.\n'}${lines}`;
}

function row(path, stat) {
  const name = path.slice(join(root, '').length);
  const address = name.split('/').map(encodeURIComponent).join('/');
  return `<tr><td><a href="./${address}">${escaped(name)}</a><td>${stat.mtime.toISOString()}<td>${stat.size}\n`;
}

// Return the paths that are meant, in order; a note says what kept it from looking everywhere.
function meantPaths(notes) {
  const paths = {};
  let left = MOST_SEEN;
  patterns.forEach(pattern => {
    const directories = [pattern.directory];
    while (directories.length && left > 0) {
      const directory = directories.pop();
      const inIt = names(pattern, directory, notes);
      for (let at = 0; at < inIt.length && left > 0; at++) {
        const name = inIt[at];
        const path = join(directory, name);
        left -= path.length;
        if (left > 0 && isNamed(pattern, name)) {
          paths[path] = true;
        }
        if (left > 0 && pattern.deep && !isHidden(name) && isDirectory(path)) {
          directories.push(path);
        }
      }
    }
  });
  if (left <= 0) {
    notes.unshift('There are more files and directories than this page looks at.');
  }
  return Object.keys(paths).sort();
}

// Return the names in a directory that may be meant. Where a pattern names its file, the directory need not be readable.
function names(pattern, directory, notes) {
  try {
    if (!pattern.deep && !pattern.pieces) {
      return [pattern.name];
    }
    // a symlink in a volume may lead to any directory of the sidecar
    return volumeOf(fs.realpathSync(directory)) ? fs.readdirSync(directory) : [];
  } catch (error) {
    notes.push(`${directory}: ${error.message}`);
    return [];
  }
}

function isDirectory(path) {
  try {
    return fs.lstatSync(path).isDirectory();
  } catch (error) {
    return false;
  }
}

function escaped(text) {
  // a regular expression would take much memory each time
  return text.split('&').join('&amp;').split('<').join('&lt;').split('>').join('&gt;').split('"').join('&quot;');
}

export default {serve};
