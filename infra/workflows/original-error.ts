/** Keeps what a state failed with. An error may come without a cause, and an expression without a value would be an error of its own. */
export const originalError = {
  error: '{% $states.errorOutput.Error %}',
  cause: "{% $exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : '' %}",
};
