const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const;

/** A bar `width` cells long at most, in eighths of a cell; what is more than nothing is never shown as nothing. */
export const bar = (fraction: number, width: number): string => {
  const clamped = Math.min(1, Math.max(0, fraction));
  const cells = clamped > 0 ? Math.max(1, Math.round(clamped * width * 8)) : 0;
  return '█'.repeat(Math.floor(cells / 8)) + eighths[cells % 8];
};
