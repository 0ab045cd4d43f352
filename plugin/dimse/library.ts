import dimse from 'dcmjs-dimse';

// It would write every association to the console.
dimse.log.disableAll(false);

export default dimse;
