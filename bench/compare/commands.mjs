// The scripts that docs/performance.md is made of, in the order in which they run, and what a short try of each leaves out.
export const parts = {
  overhead: { takes: 'some minutes', quick: ['--rounds', '1', '--parts', 'core,ends,models', '--models', 'mlp'] },
  compare: {
    takes: 'some 20 minutes',
    quick: ['--rounds', '1', '--seconds', '0.05', '--devices', '1'].concat(
      ['--only', 'products,elementwise,attention,mlp'],
      ['--shapes', '256x256x256'],
    ),
  },
  scaling: { takes: 'two minutes', quick: ['--rounds', '1', '--seconds', '0.02', '--only', 'batch'] },
};

/** A command line each: `{ name, takes, args }`. A short try writes nothing; `python` and `prototype` are the race's. */
export const commandsOf = ({ only, quick, python, prototype }) =>
  only.map((name) => {
    const given =
      name === 'compare' ? Object.entries({ python, prototype }).filter(([, value]) => value !== undefined) : [];
    return {
      name,
      takes: quick ? 'a minute or less' : parts[name].takes,
      args: [...(quick ? parts[name].quick : ['--write']), ...given.flatMap(([flag, value]) => [`--${flag}`, value])],
    };
  });
