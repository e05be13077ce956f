
const quoted = text => '"' + text.replaceAll('"', '""') + '"';
function save() {
  const rows = JSON.parse(document.getElementById('sample').textContent);
  const places = [...document.querySelectorAll('select')];
  const lines = places.map((place, row) => [...rows[row], place.value].map(quoted).join(','));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(['anchor,negative,mark\n', lines.join('\n'), '\n'], {type: 'text/csv'}));
  link.download = 'marks.csv';
  link.click();
}
document.getElementById('save').addEventListener('click', save);
