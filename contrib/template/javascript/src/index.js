// One entry for each function of manifest.yaml, under the name that it has there.
exports.functionFactory = {
  greet: require('./greet').run,
};
