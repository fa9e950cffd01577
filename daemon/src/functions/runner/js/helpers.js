// What TypeScript's decorators are compiled to calls of.
(function () {
  'use strict';
  const babelHelpers = {
    decorate(decorators, target, key, descriptor) {
      const isClass = arguments.length < 3;
      let result = isClass ? target
        : descriptor === null ? Object.getOwnPropertyDescriptor(target, key) : descriptor;
      for (let i = decorators.length - 1; i >= 0; i--) {
        const decorator = decorators[i];
        if (!decorator) continue;
        const returned = isClass ? decorator(result)
          : arguments.length > 3 ? decorator(target, key, result) : decorator(target, key);
        result = returned || result;
      }
      if (!isClass && arguments.length > 3 && result) Object.defineProperty(target, key, result);
      return result;
    },
    decorateParam: (index, decorator) => (target, key) => decorator(target, key, index),
    decorateMetadata: (key, value) => Reflect.metadata?.(key, value),
  };
  return { babelHelpers };
})
