import type { ConfigFile } from '../config/index.ts';
import { explainImage } from '../registry/registry-explain.ts';
import { registryDefaults } from './registry-tables.ts';

/** The text of `tscontainerd config explain IMAGE`, see {@link explainImage}. */
export async function explainConfig(config: ConfigFile, image: string): Promise<string> {
  const lines = await explainImage(image, {
    ...registryDefaults(config.plugins),
    defaultScheme: '',
  });
  return `${lines.join('\n')}\n`;
}
