// Before the first paint, so that nobody sees the wrong scheme flash by. Not a module: those wait.
try {
  const theme = localStorage.getItem('theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // No storage: the system's scheme it is.
}
