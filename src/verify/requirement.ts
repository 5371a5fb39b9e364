/** What must run on a provider: everything but shape arithmetic, or everything. */
export const REQUIREMENTS = ['compute', 'all'] as const;
export type Requirement = (typeof REQUIREMENTS)[number];
