export { type Diagnosis, diagnose as doctor, type Found, type ProviderState } from '../verify/doctor';
