export { type ConfigFile, readConfig, readWorkingConfig, WORKING_NAMES } from './read';
export { jsonSchema, type Settings } from './schema';
export { PLUGIN, UPDATED_NAME, updatedConfig } from './update';
