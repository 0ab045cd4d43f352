import type { Algorithm } from '../result.ts';
import { DCM } from './code.ts';
import { code, type ContentItem, text, uid } from './content-item.ts';

/** Observation context: a device, never a person (PS3.16 TID 1002, 1004). */
export function observer(algorithm: Algorithm): ContentItem[] {
  return [
    code('HAS OBS CONTEXT', DCM.observerType, DCM.device),
    uid('HAS OBS CONTEXT', DCM.deviceObserverUID, algorithm.deviceUID),
    text('HAS OBS CONTEXT', DCM.deviceObserverName, algorithm.algorithmName),
    text('HAS OBS CONTEXT', DCM.deviceObserverManufacturer, algorithm.manufacturer),
    text('HAS OBS CONTEXT', DCM.deviceObserverModelName, algorithm.modelName),
    ...(algorithm.deviceSerialNumber
      ? [text('HAS OBS CONTEXT', DCM.deviceObserverSerialNumber, algorithm.deviceSerialNumber)]
      : []),
  ];
}
