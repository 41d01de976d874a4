export default {
    "password.title": "Change your password",
    "password.old": "Old password",
    "password.new": "New password",
    "password.hint": "All other sessions of your account end.",
    "password.action": "Change the password",
    "password.busy": "One moment …",
    "password.cancel": "Cancel",
    "password.close": "Close",
    "password.done": "Your new password is in force.",
    "password.failed-old": "This is not your password. Check and try again.",
    "password.failed-short": "This password is too short. Choose a longer one.",
    "password.failed-long": "This password is too long. Choose a shorter one.",
    "password.failed-common": "This password is on lists of common passwords. Choose another one.",
    "password.failed-rate-limited": "Too many attempts. Wait a minute and try again.",
    "password.failed-unknown": "The service did not answer. Your password may have changed. Log in again to see which one works.",
    "password.failed-unavailable": "The service is busy, and nothing has changed. Try again in a moment."
};
