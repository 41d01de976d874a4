//! Proofs of who is asking: the password, and a code of the second factor if the user has one.
//!
//! A login, an enrolment and a dangerous change of an admin use the same checks. Each wrong password and each wrong code counts
//! as a failed login of the name.

use actix_web::{HttpRequest, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::{ApiError, Code, read_failed};
use super::state::{Accounts, Edge};
use super::{body, peer};
use crate::admission::{Acquaintance, LoginAttempt, TurnedAway};
use crate::auth::{Caller, HashLine, RecoveryCode, SealedSecret, Verified};
use crate::base::{now_ms, now_seconds};
use crate::domain::{Password, User, UserName, normalized};
use crate::mysql::users::{Account, find_by_name, replace_hash};
use crate::mysql::{DbPools, second_factors};

pub const REAUTHENTICATION_REQUIRED: ApiError =
    ApiError::new(Code::ReauthenticationRequired, "This change needs your password and a code in the same request.");
pub const WRONG_PROOF: ApiError = ApiError::new(Code::WrongPassword, "Wrong password or code.");

/// The proof in the body of an admin's dangerous change, beside the change itself.
#[derive(Default, Deserialize, ToSchema)]
pub struct Proof {
    /// The admin's password. Needed by an admin with a second factor.
    #[serde(default)]
    password: String,
    /// A code of the admin's second factor, or a recovery code.
    #[serde(default)]
    otp: String,
}

/// The parts of the service that check proofs.
pub struct Prover<'a> {
    pub edge: &'a Edge,
    pub accounts: &'a Accounts,
    pub dbs: &'a DbPools,
}

/// What a code has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeCheck {
    /// The user has no second factor, so no code is needed.
    NoFactor,
    Right,
    /// The user has a second factor, and the request has no code.
    Missing,
    /// The failure is counted.
    Wrong,
}

impl Proof {
    /// The proof among the fields of a change.
    ///
    /// # Errors
    /// 400 for a field that is no text.
    pub fn of(object: &Map<String, Value>) -> Result<Self, ApiError> {
        let text = |field: &'static str| match object.get(field) {
            None => Ok(String::new()),
            Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| ApiError::not_json().with_field(field)),
        };
        Ok(Self { password: text("password")?, otp: text("otp")? })
    }
}

/// Requires password and code for a dangerous change of `admin`, if the admin has a second factor. Call it when the change is
/// parsed, and before anything is changed.
///
/// # Errors
/// 401 `reauthentication-required` without a proof, 401 `wrong-password` for a wrong one, and 429 after too many wrong ones.
pub async fn reauthenticate(request: &HttpRequest, admin: &UserName, proof: &Proof) -> Result<(), ApiError> {
    let prover = Prover::of(request);
    let account = find_by_name(&prover.dbs.control, admin).await.map_err(|error| read_failed(&error))?;
    let account = account.ok_or_else(ApiError::not_logged_in)?;
    let user = account.user.clone();
    let name = counted_name(&user.name);
    let mut attempt = prover.attempt(request, &name);
    if prover.code(&mut attempt, &user, "").await? == CodeCheck::NoFactor {
        return Ok(());
    }
    if proof.password.is_empty() || proof.otp.is_empty() {
        return Err(REAUTHENTICATION_REQUIRED);
    }
    prover.admit(&mut attempt).await?;
    let password = Password::parse(proof.password.clone()).map_err(|_| WRONG_PROOF)?;
    prover.password(&mut attempt, Some(account), &password).await?.ok_or(WRONG_PROOF)?;
    match prover.code(&mut attempt, &user, &proof.otp).await? {
        CodeCheck::Right | CodeCheck::NoFactor => Ok(()),
        CodeCheck::Missing | CodeCheck::Wrong => Err(WRONG_PROOF),
    }
}

/// Like [`reauthenticate`], for a change whose body is nothing but the proof.
///
/// # Errors
/// As [`reauthenticate`], and 400 for a body that is no proof.
pub async fn reauthenticate_by_body(
    request: &HttpRequest,
    admin: &UserName,
    payload: web::Payload,
) -> Result<(), ApiError> {
    let proof = body::json_or_default(payload, Prover::of(request).edge.body, ApiError::not_json).await?;
    reauthenticate(request, admin, &proof).await
}

/// The name under which failures are counted. All forms of Unicode of a name count together.
pub fn counted_name(name: &UserName) -> String {
    normalized(name.as_str()).unwrap_or_else(|| name.to_string())
}

impl<'a> Prover<'a> {
    pub fn of(request: &'a HttpRequest) -> Self {
        let has = "every server of the program has this part";
        Self {
            edge: request.app_data::<web::Data<Edge>>().expect(has),
            accounts: request.app_data::<web::Data<Accounts>>().expect(has),
            dbs: request.app_data::<web::Data<DbPools>>().expect(has),
        }
    }

    /// An attempt to prove who is asking, from the address of the request.
    pub fn attempt<'n>(&self, request: &HttpRequest, name: &'n str) -> LoginAttempt<'n> {
        LoginAttempt { name, address: peer::address(request, self.edge), acquaintance: Acquaintance::Stranger }
    }

    /// Decides whether a client may try. Asks whether the network knows the name only if the answer decides.
    ///
    /// # Errors
    /// 429 or 403.
    pub async fn admit(&self, attempt: &mut LoginAttempt<'_>) -> Result<(), ApiError> {
        let Self { edge, accounts, .. } = self;
        let known = LoginAttempt { acquaintance: Acquaintance::Network, ..*attempt };
        if !edge.admission.may_log_in(attempt, now_ms())
            && edge.admission.may_log_in(&known, now_ms())
            && let Ok(name) = UserName::parse(attempt.name.to_owned())
            && accounts.networks.knows(&name, attempt.address, now_seconds()).await
        {
            *attempt = known;
        }
        Ok(edge.admission.log_in(attempt, now_ms())?)
    }

    /// The account, if the password is right. `None` after the same time for an unknown user or a wrong password, and the
    /// failure is counted.
    ///
    /// # Errors
    /// 429 and 503.
    pub async fn password(
        &self,
        attempt: &mut LoginAttempt<'_>,
        account: Option<Account>,
        password: &Password,
    ) -> Result<Option<Account>, ApiError> {
        let (in_line, address) = (*attempt, attempt.address);
        let still_wants = move || self.edge.admission.may_log_in(&in_line, now_ms());
        let knows = |account: &Account| self.accounts.networks.has_noted(&account.user.name, address);
        let is_known = account.as_ref().is_some_and(knows);
        let line = if is_known { HashLine::KnownAddress(address) } else { HashLine::Address(address) };
        let caller = Caller { line, name: in_line.name, still_wants: &still_wants };
        let account = self.verified(account, password, caller).await;
        // Checked again, because logins may have failed during the hash. Over the limit, the right password fails, too.
        self.admit(attempt).await?;
        let account = account?;
        if account.is_none() {
            self.edge.admission.log_in_failed(attempt, now_ms())?;
        }
        Ok(account)
    }

    async fn verified(
        &self,
        account: Option<Account>,
        password: &Password,
        caller: Caller<'_>,
    ) -> Result<Option<Account>, ApiError> {
        let Some(account) = account else {
            // Takes as long as a wrong password.
            self.accounts.passwords.verify_nobody(password, caller).await?;
            return Ok(None);
        };
        let passwords = self.accounts.passwords_of(account.user.kind);
        match passwords.verify(password, &account.password_hash, caller).await? {
            Verified::No => return Ok(None),
            Verified::Yes => {}
            Verified::YesRehash => {
                let hash = passwords.hash(password, caller).await?;
                replace_hash(self.dbs.of(account.user.kind), account.user.id, &account.password_hash, &hash).await?;
            }
        }
        Ok(Some(account))
    }

    /// Checks a code of the user's second factor, or a recovery code. A right code counts once. Call it after the password was
    /// right, so that only the user learns whether there is a second factor.
    ///
    /// # Errors
    /// 429, and 503 while MySQL is away or no key decrypts the secret.
    pub async fn code(&self, attempt: &mut LoginAttempt<'_>, user: &User, code: &str) -> Result<CodeCheck, ApiError> {
        if !user.kind.may_have_factor() {
            return Ok(CodeCheck::NoFactor);
        }
        let db = self.dbs.of(user.kind);
        let row = second_factors::find(db, user.id).await.map_err(|error| read_failed(&error))?;
        let Some((sealed, tries_since)) = row.and_then(|row| Some((SealedSecret(row.secret?), row.tries_since))) else {
            return Ok(CodeCheck::NoFactor);
        };
        if code.trim().is_empty() {
            return Ok(CodeCheck::Missing);
        }
        let recovery_code = RecoveryCode::parse(code);
        // Recovery codes are too long to be guessed, and let the user in while somebody uses up the tries.
        if recovery_code.is_none() && !second_factors::take_try(db, user.id, now_seconds()).await? {
            log::warn!("second factor of {}: too many wrong codes. Recovery codes still count", user.name);
            let ends_at = tries_since.saturating_add(second_factors::TRIES_SECONDS);
            return Err(TurnedAway::TooFast { wait_seconds: ends_at.saturating_sub(now_seconds()).max(1) }.into());
        }
        // Checked again, because codes may have failed meanwhile. From here to the count of a wrong code nothing waits, so many
        // requests at the same time have no more guesses.
        self.admit(attempt).await?;
        let is_right = match recovery_code {
            Some(code) => self.use_recovery_code(user, &code).await?,
            None => self.use_step(user, &sealed, code).await?,
        };
        if is_right {
            return Ok(CodeCheck::Right);
        }
        self.edge.admission.log_in_failed(attempt, now_ms())?;
        Ok(CodeCheck::Wrong)
    }

    /// Counts a code of the telephone, and encrypts the secret again after a change of the operator's secret.
    async fn use_step(&self, user: &User, sealed: &SealedSecret, code: &str) -> Result<bool, ApiError> {
        let keys = &self.accounts.factors;
        let Some(secret) = keys.open(user.id, sealed) else {
            log::error!(
                "second factor of {}: COUPONRUSH_JWT_SECRET has no secret any more that decrypts it. Add the earlier secret \
                 behind the present one, or run `couponrush admin end-factor`",
                user.name
            );
            return Err(ApiError::unavailable());
        };
        let Some(step) = secret.step_of(code, now_seconds()) else { return Ok(false) };
        let renewed = (!keys.is_current(sealed)).then(|| keys.seal(user.id, &secret));
        let to = renewed.as_ref().unwrap_or(sealed);
        Ok(second_factors::use_step(self.dbs.of(user.kind), user.id, step, &sealed.0, &to.0).await?)
    }

    async fn use_recovery_code(&self, user: &User, code: &RecoveryCode) -> Result<bool, ApiError> {
        let is_right = second_factors::use_recovery_code(self.dbs.of(user.kind), user.id, &code.hash()).await?;
        if is_right {
            log::warn!("second factor of {}: a recovery code was used", user.name);
        }
        Ok(is_right)
    }
}
