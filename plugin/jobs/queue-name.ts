/** The one queue of pg-boss: a job in it is a scoring, and has its ID. */
export const queueName = 'score';
