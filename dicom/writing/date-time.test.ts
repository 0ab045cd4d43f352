import { dateTime } from './date-time.ts';

const instant = new Date('2024-03-01T23:59:58.765Z');

test('UTC unless a zone is given', () => {
  expect(dateTime(instant)).toEqual({ DA: '20240301', TM: '235958.765', DT: '20240301235958.765+0000' });
  expect(dateTime(instant, 'CET')).toEqual(dateTime(instant));
});

test('a zone moves the date too', () => {
  expect(dateTime(instant, '+0530')).toEqual({
    DA: '20240302',
    TM: '052958.765',
    DT: '20240302052958.765+0530',
  });
  expect(dateTime(instant, '-1200').TM).toBe('115958.765');
});
